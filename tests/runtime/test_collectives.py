"""Each move between states, forward and backward, against the table in parc/runtime/collectives.py.

A value of the whole is known to the test; what a rank holds of it, and of its gradient, follows from the
state.
"""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from parc.runtime import collectives

# move: the states before and after
MOVES = {
    "replicate": ("invariant", "replicated"),
    "all_reduce": ("partial", "invariant"),
    "all_gather": ("sharded", "replicated"),
    "gather": ("sharded", "invariant"),
    "reduce_scatter": ("partial", "sharded"),
    "split": ("invariant", "sharded"),
    "take": ("replicated", "sharded"),
    "first": ("replicated", "partial"),
}
OF_A_DIM = ("all_gather", "gather", "reduce_scatter", "split", "take")
DUAL = {"invariant": "invariant", "replicated": "partial", "partial": "invariant", "sharded": "sharded"}
ROUNDING = 1e-13  # float64, sums of at most four terms of order one
SHAPE = (4, 12, 3)


def whole(key: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(key))


def held(full: Tensor, state: str, rank: int, ranks: int, dim: int, blocks: int) -> Tensor:
    """What a rank holds of a value in this state, written without the code under test."""
    if state == "partial":
        terms = [torch.sin(full * (term + 1)) for term in range(ranks - 1)]
        return terms[rank] if rank < ranks - 1 else full - sum(terms)
    if state == "sharded":
        return torch.cat([block.chunk(ranks, dim)[rank] for block in full.chunk(blocks, dim)], dim)
    return full


def joined(parts: list[Tensor], state: str, dim: int, blocks: int) -> list[Tensor]:
    """The whole value as each rank's part tells it: one entry where all of them together do."""
    if state == "partial":
        return [torch.stack(parts).sum(0)]
    if state == "sharded":
        cut = [part.chunk(blocks, dim) for part in parts]
        return [torch.cat([share[block] for block in range(blocks) for share in cut], dim)]
    return parts


@pytest.mark.parametrize(
    ("ranks_count", "dim", "blocks"), [(2, 0, 1), (2, 1, 1), (3, 1, 2), (4, 1, 3), (2, 0, 2), (1, 1, 2)]
)
def test_every_move_and_its_way_back(ranks, ranks_count: int, dim: int, blocks: int) -> None:
    def work() -> dict[str, tuple[Tensor, Tensor]]:
        rank, group = dist.get_rank(), dist.group.WORLD
        found = {}
        for name, (before, after) in MOVES.items():
            x = held(whole(1), before, rank, ranks_count, dim, blocks).clone().requires_grad_()
            where = (dim, group, blocks) if name in OF_A_DIM else (group,)
            y = getattr(collectives, name)(x, *where)
            y.backward(held(whole(2), DUAL[after], rank, ranks_count, dim, blocks))
            found[name] = y.detach(), x.grad
        return found

    results = ranks(ranks_count, work)
    for name, (before, after) in MOVES.items():
        values, gradients = ([result[name][part] for result in results] for part in (0, 1))
        for value in joined(values, after, dim, blocks):
            torch.testing.assert_close(value, whole(1), rtol=ROUNDING, atol=ROUNDING, msg=name)
        for gradient in joined(gradients, DUAL[before], dim, blocks):
            torch.testing.assert_close(gradient, whole(2), rtol=ROUNDING, atol=ROUNDING, msg=name)


def test_a_move_leaves_what_it_was_given_as_it_was(ranks) -> None:
    def work() -> bool:
        kept = True
        for name in MOVES:
            x = whole(dist.get_rank()).transpose(0, 1)  # not contiguous
            before = x.clone()
            where = (0, dist.group.WORLD, 1) if name in OF_A_DIM else (dist.group.WORLD,)
            getattr(collectives, name)(x, *where)
            kept = kept and torch.equal(x, before)
        return kept

    assert all(ranks(2, work))


def test_a_gradient_that_is_not_contiguous_is_reduced_all_the_same(ranks) -> None:
    def work() -> Tensor:
        x = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
        gradient = torch.arange(8.0, dtype=torch.float64).view(2, 4).t()
        collectives.replicate(x, dist.group.WORLD).backward(gradient)
        assert x.grad is not None
        return x.grad

    for gradient in ranks(2, work):
        assert torch.equal(gradient, 2 * torch.arange(8.0, dtype=torch.float64).view(2, 4).t())
