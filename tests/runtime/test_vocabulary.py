"""Embedding and cross-entropy over shares of the vocabulary or of the tokens, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from parc.runtime.vocabulary import cross_entropy, sharded_embedding

TOKENS, VOCABULARY, IGNORED = 8, 12, -1
ROUNDING = 1e-13  # float64, a sum over 12 entries of order one


def logits(scale: float = 1.0) -> Tensor:
    return scale * torch.randn(
        TOKENS, VOCABULARY, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )


def labels() -> Tensor:
    """Of the first rank's tokens most are ignored, of the second's none."""
    drawn = torch.randint(VOCABULARY, (TOKENS,), generator=torch.Generator().manual_seed(4))
    drawn[:3] = IGNORED
    return drawn


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=ROUNDING, atol=ROUNDING)


def reference(reduction: str, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    x = logits(scale).requires_grad_()
    loss = F.cross_entropy(x, labels(), reduction=reduction, ignore_index=IGNORED)
    loss.backward(torch.linspace(1, 2, loss.numel(), dtype=torch.float64).view(loss.shape))
    assert x.grad is not None
    return loss.detach(), x.grad


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(("world", "scale"), [(1, 1.0), (2, 1.0), (3, 1.0), (2, 1000.0)])
def test_every_rank_has_the_loss_over_the_whole_vocabulary(
    ranks, reduction, world: int, scale: float
) -> None:
    """Logits in the thousands overflow unless the largest of all ranks is taken away first."""

    def work() -> tuple[Tensor, Tensor]:
        x = logits(scale).chunk(world, dim=1)[dist.get_rank()].clone().requires_grad_()
        loss = cross_entropy(
            x, labels(), reduction=reduction, ignore_index=IGNORED, vocabulary=dist.group.WORLD
        )
        loss.backward(torch.linspace(1, 2, loss.numel(), dtype=torch.float64).view(loss.shape))
        assert x.grad is not None
        return loss.detach(), x.grad

    results, (loss, gradient) = ranks(world, work), reference(reduction, scale)
    for found, _ in results:
        torch.testing.assert_close(found, loss, rtol=ROUNDING, atol=ROUNDING * scale)
    close(torch.cat([part for _, part in results], dim=1), gradient)


def test_a_mean_over_tokens_of_many_ranks_counts_the_valid_ones_of_all(ranks) -> None:
    def work() -> tuple[Tensor, Tensor]:
        share = slice(dist.get_rank() * TOKENS // 2, (dist.get_rank() + 1) * TOKENS // 2)
        x = logits()[share].clone().requires_grad_()
        loss = cross_entropy(x, labels()[share], ignore_index=IGNORED, tokens=(dist.group.WORLD,))
        loss.backward()
        assert x.grad is not None
        return loss.detach(), x.grad

    results, (loss, gradient) = ranks(2, work), reference("mean")
    close(results[0][0] + results[1][0], loss)
    assert not torch.isclose(results[0][0], results[1][0])
    close(torch.cat([part for _, part in results]), gradient)


def test_tokens_and_vocabulary_may_lie_on_two_axes(ranks) -> None:
    def work() -> tuple[Tensor, Tensor]:
        mesh = dist.init_device_mesh("cpu", (2, 2), mesh_dim_names=("dp", "tp"))
        dp, tp = divmod(dist.get_rank(), 2)
        share = slice(dp * TOKENS // 2, (dp + 1) * TOKENS // 2)
        x = logits()[share].chunk(2, dim=1)[tp].clone().requires_grad_()
        loss = cross_entropy(
            x,
            labels()[share],
            ignore_index=IGNORED,
            vocabulary=mesh.get_group("tp"),
            tokens=(mesh.get_group("dp"),),
        )
        loss.backward()
        assert x.grad is not None
        return loss.detach(), x.grad

    results, (loss, gradient) = ranks(4, work), reference("mean")
    close(results[0][0] + results[2][0], loss)
    close(results[1][0] + results[3][0], loss)
    found = [torch.cat([results[dp * 2 + tp][1] for tp in range(2)], dim=1) for dp in range(2)]
    close(torch.cat(found), gradient)


@pytest.mark.parametrize("padding", [None, 0, 7])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_every_rank_looks_up_its_own_rows(ranks, world: int, padding: int | None) -> None:
    """A row for padding has no gradient, on whichever rank it lies."""
    table = torch.randn(VOCABULARY, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    indices = torch.tensor([[0, 11, 7], [3, 7, 0]])
    weights = torch.randn(2, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))

    def work() -> tuple[Tensor, Tensor]:
        mine = table.chunk(world)[dist.get_rank()].clone().requires_grad_()
        found = sharded_embedding(indices, mine, dist.group.WORLD, padding)
        found.backward(weights)  # of a partial sum, the gradient is whole on every rank
        assert mine.grad is not None
        return found.detach(), mine.grad

    results = ranks(world, work)
    whole = table.clone().requires_grad_()
    F.embedding(indices, whole, padding_idx=padding).backward(weights)
    assert whole.grad is not None
    close(torch.stack([found for found, _ in results]).sum(0), F.embedding(indices, table))
    close(torch.cat([gradient for _, gradient in results]), whole.grad)


def test_an_infinite_row_of_one_rank_is_seen_by_its_own_ids_alone(ranks) -> None:
    """Ids of other ranks are looked up in row 0 and masked; infinity times zero is not a number."""

    def work() -> Tensor:
        mine = torch.zeros(VOCABULARY // 2, 5, dtype=torch.float64)
        mine[0] = torch.inf
        return sharded_embedding(torch.tensor([0, 1, VOCABULARY // 2]), mine, dist.group.WORLD)

    for rank, found in enumerate(ranks(2, work)):
        infinite = [place for place, row in enumerate(found.tolist()) if row == [torch.inf] * 5]
        assert infinite == [0 if rank == 0 else 2]
        assert torch.equal(found.nan_to_num(posinf=0.0), torch.zeros(3, 5, dtype=torch.float64))
        assert not found.isnan().any()
