"""The share of a value that each rank holds, and sums of the terms that ranks hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod

import torch
from torch import Tensor

from parc.ir.states import State
from parc.plan.mesh import Mesh, split_group_name

StatesByAxis = Mapping[str, State]  # by axis, or by group over several; invariant on all others


def select_share(states: StatesByAxis, whole: Tensor, rank: int, mesh: Mesh) -> Tensor:
    """A rank's share of a value. Axes that do not shard it leave it whole."""
    for group, dim, blocks in _order_shards(states, mesh):
        parts = torch.unflatten(whole, dim, (blocks, mesh.sizes[group], -1))
        whole = parts.select(dim + 1, mesh.index(rank, split_group_name(group))).flatten(dim, dim + 1)
    return whole


def sum_terms(states: StatesByAxis, held: Mapping[int, Tensor], mesh: Mesh) -> dict[int, Tensor]:
    """The value of each rank after pending sums are completed. `held` has all ranks of each sum."""
    for axis, state in states.items():
        if state.partial:
            terms = {rank: [held[each] for each in mesh.group(rank, split_group_name(axis))] for rank in held}
            held = {rank: torch.stack(each).sum(0) for rank, each in terms.items()}
    return dict(held)


def _order_shards(states: StatesByAxis, mesh: Mesh) -> Iterator[tuple[str, int, int]]:
    """(axis, dim, blocks) of the axes that shard, in the order in which they do; `blocks` as each finds them.

    A dim that was flattened from two is sharded by the axes of the outer one first, which share its blocks.
    """
    sharded = [(axis, state) for axis, state in states.items() if state.sharded]
    for axis, state in sorted(sharded, key=lambda entry: entry[1].blocks):
        outer = [name for name, at in sharded if at.dim == state.dim and at.blocks < state.blocks]
        yield axis, state.dim, state.blocks // prod(mesh.sizes[name] for name in outer)
