"""A capacity of experts: which pairs are kept, wherever the tokens lie, against a count one by one."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from parc.runtime.capacity import keep_within_capacity
from parc.verify.numbers.capacity import find_kept

EXPERTS, CHOICES, SEQUENCES, LENGTH = 4, 2, 4, 6
PAIRS = SEQUENCES * LENGTH * CHOICES  # 12 are an expert's even share


def route() -> Tensor:
    """Indices (SEQUENCES, LENGTH, CHOICES) of all tokens: one expert has more than a third of them."""
    scores = torch.rand(SEQUENCES, LENGTH, EXPERTS, generator=torch.Generator().manual_seed(2))
    return (scores + torch.tensor([0.0, 0.3, 0.0, 0.0])).topk(CHOICES).indices


@pytest.mark.parametrize(
    ("capacity", "most"),
    [(1.0, 12), (0.7, 9), (1.1, 14), (0.01, 1), (4.0, PAIRS)],  # 8.4, 13.2 and 0.12 are rounded up
)
def test_an_expert_takes_its_first_pairs(capacity: float, most: int) -> None:
    indices = route().flatten(0, 1)
    kept = keep_within_capacity(indices, EXPERTS, capacity)
    assert torch.equal(kept.mask, find_kept(indices, EXPERTS, capacity))
    assert kept.counts.tolist() == [min(most, count) for count in kept.chosen.tolist()]
    assert torch.equal(kept.chosen, indices.flatten().bincount(minlength=EXPERTS))
    for expert in range(EXPERTS):
        its = kept.mask[indices == expert]
        assert bool(its[:most].all())
        assert not bool(its[most:].any())


def test_a_capacity_is_the_decimal_that_was_written() -> None:
    """In floating point 0.07 x 100 is more than 7, and would be rounded up to 8 rows."""
    indices = torch.zeros(100, 1, dtype=torch.int64)
    assert keep_within_capacity(indices, 1, 0.07).counts.tolist() == [7]


def test_every_layout_keeps_the_same_pairs(ranks) -> None:
    """Sequences over `data`, and each sequence over `tensor`; a rank has two blocks of three tokens."""
    capacities = (0.5, 0.7, 1.0)

    def select(pairs: Tensor, rank: int) -> Tensor:
        """The (sequences, tokens, choices) of one rank."""
        return pairs.view(2, 2, 2, 3, CHOICES)[rank // 2, :, rank % 2]

    def work() -> list[tuple[Tensor, Tensor]]:
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
        own = select(route(), dist.get_rank()).flatten(0, 1)
        shards = [(mesh.get_group("data"), 1), (mesh.get_group("tensor"), 2)]
        found = (keep_within_capacity(own, EXPERTS, capacity, shards) for capacity in capacities)
        return [(kept.mask, kept.counts) for kept in found]

    for rank, found in enumerate(ranks(4, work)):
        for capacity, (mask, counts) in zip(capacities, found, strict=True):
            expected = select(find_kept(route().flatten(0, 1), EXPERTS, capacity), rank)
            assert torch.equal(mask.view_as(expected), expected)
            kept = select(route(), rank)[expected]
            assert torch.equal(counts, kept.bincount(minlength=EXPERTS))
