"""Capacity: an expert takes so many rows of a microbatch, and the pairs beyond them are dropped.

A pair is one (token, choice). The pairs of all ranks are counted in the order that the tokens have on one
device, so that every layout drops the same ones. Only numbers of pairs are exchanged for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup

from .recompute import keep_result


@dataclass(frozen=True)
class KeptPairs:
    """Which of this rank's pairs become rows. N tokens, K experts a token, E experts."""

    mask: Tensor  # (N, K) bool
    counts: Tensor  # (E,) how many are kept for each expert
    chosen: Tensor  # (E,) how many chose each expert

    def renumber(self, places: Tensor) -> KeptPairs:
        """The same for experts that have other numbers: (E,), by the number that they had."""
        counts, chosen = (
            torch.empty_like(each).index_copy(0, places, each) for each in (self.counts, self.chosen)
        )
        return replace(self, counts=counts, chosen=chosen)


@keep_result
def keep_within_capacity(
    indices: Tensor, experts: int, capacity: float, shards: Sequence[tuple[ProcessGroup, int]] = ()
) -> KeptPairs:
    """indices (N, K) -> of each expert the first pairs, up to its capacity.

    That is `capacity` times an expert's even share of all pairs, rounded up. `shards` says how the tokens of
    the microbatch lie on the ranks, the outermost first: each of so many blocks of what this rank would have
    otherwise is divided among the ranks of a group, in order.
    """
    ranks = math.prod(group.size() for group, _ in shards)
    most = math.ceil(Fraction(str(capacity)) * indices.numel() * ranks / experts)  # of the decimal as written
    blocks = shards[-1][1] if shards else 1
    numbers = torch.arange(blocks, device=indices.device).view(-1, 1) * experts
    keys = (indices.reshape(blocks, -1) + numbers).flatten()  # one for each block and expert
    counts = torch.bincount(keys, minlength=blocks * experts)
    starts = counts.cumsum(0) - counts
    order = keys.argsort(stable=True)
    place = torch.empty_like(keys).index_copy(0, order, torch.arange(len(keys), device=keys.device))
    chosen = counts.view(blocks, experts)
    earlier = _count_earlier(chosen, shards)
    kept = (most - earlier).clamp(min=0).minimum(chosen)
    mask = place - starts[keys] < kept.flatten()[keys]
    return KeptPairs(mask.view_as(indices), kept.sum(dim=0), chosen.sum(dim=0))


def _count_earlier(counts: Tensor, shards: Sequence[tuple[ProcessGroup, int]]) -> Tensor:
    """counts (blocks, E) of this rank's pairs -> how many pairs of all ranks come before each block's.

    The innermost group has the shares of a block; those around it need to know no more than their sums.
    """
    if not shards:
        return torch.zeros_like(counts)
    *outer, (group, blocks) = shards
    gathered = counts.new_empty(group.size() * blocks, counts.shape[1])
    dist.all_gather_single(gathered, counts, group=group)
    shares = gathered.view(group.size(), blocks, -1).transpose(0, 1)
    around = outer[-1][1] if outer else 1
    inside = shares.reshape(around, -1, counts.shape[1])  # in order, in each block of the groups around
    before = (inside.cumsum(dim=1) - inside).view(blocks, group.size(), -1)[:, group.rank()]
    return before + _count_earlier(inside.sum(dim=1), outer).repeat_interleave(blocks // around, dim=0)
