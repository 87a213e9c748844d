"""Each collective, forward and backward, against the table in parc/runtime/collectives.py.

The test knows the whole value; what a rank holds of it, and of its gradient, follows from the state.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from parc.runtime.collectives import I, P, R, S, State, all_gather, all_reduce, convert, reduce_scatter

Call = Callable[[Tensor], Tensor]
ROUNDING = 1e-13  # float64, sums of at most four terms of order one
SHAPE = (4, 12, 3)


def collectives(at: State, group: dist.ProcessGroup | None = None) -> dict[str, tuple[State, State, Call]]:
    """The states before and after each call; `at` is the sharded one."""
    return {
        "all_reduce": (P, I, lambda x: all_reduce(x, group, dst=I)),
        "all_gather to R": (at, R, lambda x: all_gather(x, group, src=at, dst=R)),
        "all_gather to I": (at, I, lambda x: all_gather(x, group, src=at, dst=I)),
        "reduce_scatter": (P, at, lambda x: reduce_scatter(x, group, dst=at)),
        "convert I to R": (I, R, lambda x: convert(x, group, src=I, dst=R)),
        "convert I to S": (I, at, lambda x: convert(x, group, src=I, dst=at)),
        "convert R to S": (R, at, lambda x: convert(x, group, src=R, dst=at)),
        "convert R to P": (R, P, lambda x: convert(x, group, src=R, dst=P)),
    }


def state_of_gradient(state: State) -> State:
    return {R: P, P: I}.get(state, state)


def whole(key: int) -> Tensor:
    return torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(key))


def hold(full: Tensor, state: State, rank: int, ranks: int) -> Tensor:
    """What a rank holds of a value in this state, written without the code under test."""
    if state == P:
        terms = [torch.sin(full * (term + 1)) for term in range(ranks - 1)]
        return terms[rank] if rank < ranks - 1 else full - sum(terms)
    if state.kind == "S":
        blocks = full.chunk(state.blocks, state.dim)
        return torch.cat([block.chunk(ranks, state.dim)[rank] for block in blocks], state.dim)
    return full


def assemble(parts: list[Tensor], state: State) -> list[Tensor]:
    """The whole value from each rank's part: one entry where all ranks together hold it once."""
    if state == P:
        return [torch.stack(parts).sum(0)]
    if state.kind == "S":
        cut = [part.chunk(state.blocks, state.dim) for part in parts]
        return [torch.cat([share[block] for block in range(state.blocks) for share in cut], state.dim)]
    return parts


@pytest.mark.parametrize(
    ("ranks_count", "at"),
    [(2, S(0)), (2, S(1)), (2, S(-2)), (3, S(1, blocks=2)), (4, S(1, blocks=3)), (2, S(0, 2)), (1, S(1, 2))],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_states(ranks, ranks_count: int, at: State) -> None:
    def work() -> dict[str, tuple[Tensor, Tensor]]:
        rank = dist.get_rank()
        found = {}
        for name, (src, dst, call) in collectives(at, dist.group.WORLD).items():
            x = hold(whole(1), src, rank, ranks_count).clone().requires_grad_()
            y = call(x)
            y.backward(hold(whole(2), state_of_gradient(dst), rank, ranks_count))
            found[name] = y.detach(), x.grad
        return found

    results = ranks(ranks_count, work)
    for name, (src, dst, _) in collectives(at).items():
        values, gradients = ([result[name][place] for result in results] for place in (0, 1))
        for value in assemble(values, dst):
            torch.testing.assert_close(value, whole(1), rtol=ROUNDING, atol=ROUNDING, msg=name)
        for gradient in assemble(gradients, state_of_gradient(src)):
            torch.testing.assert_close(gradient, whole(2), rtol=ROUNDING, atol=ROUNDING, msg=name)


def test_a_collective_does_not_change_its_operand(ranks) -> None:
    def work() -> bool:
        unchanged = True
        for _, _, call in collectives(S(0), dist.group.WORLD).values():
            x = whole(dist.get_rank()).transpose(0, 1)  # not contiguous
            before = x.clone()
            call(x)
            unchanged = unchanged and torch.equal(x, before)
        return unchanged

    assert all(ranks(2, work))


def test_a_gradient_that_is_not_contiguous_is_reduced(ranks) -> None:
    def work() -> Tensor:
        x = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
        gradient = torch.arange(8.0, dtype=torch.float64).view(2, 4).t()
        convert(x, dist.group.WORLD, src=I, dst=R).backward(gradient)
        assert x.grad is not None
        return x.grad

    for gradient in ranks(2, work):
        assert torch.equal(gradient, 2 * torch.arange(8.0, dtype=torch.float64).view(2, 4).t())


def test_a_term_of_another_rank_is_zero_whatever_the_value(ranks) -> None:
    """Infinity times zero is not a number, so that a product with zero would spoil the sum."""
    special = torch.tensor([torch.inf, -torch.inf, torch.nan, 1.0], dtype=torch.float64)

    def work() -> tuple[Tensor, Tensor | None]:
        x = special.clone().requires_grad_()
        y = convert(x, dist.group.WORLD, src=R, dst=P)
        y.backward(special)
        return y.detach(), x.grad

    first, *others = ranks(3, work)
    for found in first:
        torch.testing.assert_close(found, special, equal_nan=True)
    for found in (each for other in others for each in other):
        assert torch.equal(found, torch.zeros_like(special))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: all_reduce(x, None, dst=R), "all_reduce converts P -> I, not P -> R"),
        (lambda x: all_gather(x, None, src=I, dst=R), "all_gather converts S -> R or S -> I, not I -> R"),
        (lambda x: reduce_scatter(x, None, dst=I), "reduce_scatter converts P -> S, not P -> I"),
        (
            lambda x: convert(x, None, src=S(1, blocks=2), dst=R),
            "convert converts I -> R or I -> S or R -> S or R -> P, not S(1, blocks=2) -> R",
        ),
    ],
)
def test_other_states_are_refused(call: Call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        call(torch.zeros(2))
