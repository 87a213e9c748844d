"""What each rank holds of a value, and what the terms of a sum come to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from parc.ir.program import OnAxis
from parc.plan.mesh import Mesh

States = Sequence[OnAxis]


def share_of(states: States, whole: Tensor, rank: int, mesh: Mesh) -> Tensor:
    """A rank's share of a value; all of it on axes that shard nothing."""
    coordinates = mesh.coordinates(rank)
    for state, blocks in _cuts(states, mesh):
        dim, size = state.dim, mesh.axis(state.axis).size
        parts = torch.unflatten(whole, dim, (blocks, size, -1))
        whole = parts.select(dim + 1, coordinates[state.axis]).flatten(dim, dim + 1)
    return whole


def summed(states: States, held: Mapping[int, Tensor], mesh: Mesh) -> dict[int, Tensor]:
    """What each rank would hold if terms of sums were added up; the ranks of a sum are all in `held`."""
    for state in states:
        if state.kind == "partial":
            totals: dict[int, Tensor] = {}
            for rank, term in held.items():
                first = _without(rank, state.axis, mesh)
                totals[first] = totals[first] + term if first in totals else term
            held = {rank: totals[_without(rank, state.axis, mesh)] for rank in held}
    return dict(held)


def gradient(states: States) -> tuple[OnAxis, ...]:
    """How the gradient of a value lies."""
    duals = {"replicated": "partial", "partial": None, "sharded": "sharded"}
    return tuple(
        OnAxis(state.axis, dual, state.dim, state.blocks)  # type: ignore[arg-type]
        for state in states
        if (dual := duals[state.kind])
    )


def _cuts(states: States, mesh: Mesh) -> list[tuple[OnAxis, int]]:
    """The axes that cut, in the order in which they do, and how many blocks each finds.

    A dim that was flattened from two is cut by the axes of the outer one first, which share its blocks.
    """
    sharded = sorted((state for state in states if state.kind == "sharded"), key=lambda state: state.blocks)
    return [(state, state.blocks // _shared_out(state, sharded, mesh)) for state in sharded]


def _shared_out(state: OnAxis, sharded: States, mesh: Mesh) -> int:
    outer = (other.axis for other in sharded if other.dim == state.dim and other.blocks < state.blocks)
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
