"""What each rank holds of a value, and what the terms of a sum come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from parc.ir.states import I, State, gradient_state
from parc.plan.mesh import Mesh

States = Mapping[str, State]  # by axis; invariant on all others


def share_of(states: States, whole: Tensor, rank: int, mesh: Mesh) -> Tensor:
    """A rank's share of a value; all of it on axes that shard nothing."""
    coordinates = mesh.coordinates(rank)
    for axis, dim, blocks in _cuts(states, mesh):
        parts = torch.unflatten(whole, dim, (blocks, mesh.axis(axis).size, -1))
        whole = parts.select(dim + 1, coordinates[axis]).flatten(dim, dim + 1)
    return whole


def summed(states: States, held: Mapping[int, Tensor], mesh: Mesh) -> dict[int, Tensor]:
    """What each rank would hold if terms of sums were added up; the ranks of a sum are all in `held`."""
    for axis, state in states.items():
        if state.partial:
            totals: dict[int, Tensor] = {}
            for rank, term in held.items():
                first = _without(rank, axis, mesh)
                totals[first] = totals[first] + term if first in totals else term
            held = {rank: totals[_without(rank, axis, mesh)] for rank in held}
    return dict(held)


def gradient(states: States) -> States:
    """How the gradient of a value lies."""
    found = {axis: gradient_state(state) for axis, state in states.items()}
    return {axis: state for axis, state in found.items() if state != I}


def _cuts(states: States, mesh: Mesh) -> list[tuple[str, int, int]]:
    """(axis, dim, blocks) of the axes that cut, in the order in which they do; `blocks` as each finds them.

    A dim that was flattened from two is cut by the axes of the outer one first, which share its blocks.
    """
    sharded = {axis: state for axis, state in states.items() if state.sharded}
    ordered = sorted(sharded.items(), key=lambda entry: entry[1].blocks)
    return [(axis, at.dim, at.blocks // _shared_out(at, sharded, mesh)) for axis, at in ordered]


def _shared_out(state: State, sharded: States, mesh: Mesh) -> int:
    outer = (
        axis for axis, other in sharded.items() if other.dim == state.dim and other.blocks < state.blocks
    )
    return mesh.product(outer)


def _without(rank: int, axis: str, mesh: Mesh) -> int:
    """The first rank of a rank's group over an axis."""
    return rank - mesh.coordinates(rank)[axis] * mesh.stride(axis)


def compressed(ranks: Sequence[int]) -> str:
    """Ranks as text, those that follow one another as one: "0-3, 8"."""
    return ", ".join(f"{low}-{high}" if high > low else str(low) for low, high in _runs(sorted(ranks)))


def _runs(ranks: Sequence[int]) -> Iterator[tuple[int, int]]:
    start = None
    for rank, after in zip(ranks, [*ranks[1:], None], strict=True):
        start = rank if start is None else start
        if after != rank + 1:
            yield start, rank
            start = None
