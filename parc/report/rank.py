"""One rank: where it is, what it holds, whom it communicates with; in closed form, so of any plan."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from parc.cost.explain import explain_traffic
from parc.cost.figure import Figure, add_figures
from parc.plan import placement
from parc.plan.blocks import Plan
from parc.plan.mesh import Lattice
from parc.report.groups import Carried, carried
from parc.report.overview import Overview
from parc.report.stages import StageRow


@dataclass(frozen=True, slots=True)
class Peers:
    """The group that a rank is in, for one strategy or axis, and where it stands in it."""

    carried: Carried
    ranks: Lattice
    position: int


@dataclass(frozen=True, slots=True)
class RankFacts:
    rank: int
    coordinates: dict[str, int]
    place: tuple[tuple[str, int], ...]  # (level, which unit of it within the one around), then the device
    stage: StageRow
    experts: range
    sequences: range  # of the first microbatch
    axes: tuple[Peers, ...]
    strategies: tuple[Peers, ...]
    holds: Figure | None
    buffers: Figure | None


def rank_facts(of: Overview, rank: int) -> RankFacts:
    """Raises:
    IndexError: there is no such rank.
    """
    plan, mesh = of.plan, of.plan.mesh
    index = mesh.index(rank, plan.pipeline.axes) if plan.pipeline else 0
    stage = of.stages[index]
    axes = (Carried(axis.name, axis.name, (axis.name,)) for axis in mesh.axes)
    return RankFacts(
        rank,
        mesh.coordinates(rank),
        place(plan, rank),
        stage,
        placement.locate_experts(plan, rank) if stage.experts else range(0),
        placement.locate_sequences(plan, rank, 0),
        tuple(_peers(plan, rank, each) for each in axes),
        tuple(_peers(plan, rank, each) for each in carried(plan)),
        stage.memory,
        _buffers(of, index),
    )


def place(plan: Plan, rank: int) -> tuple[tuple[str, int], ...]:
    """`fabric 8 x node 16`: rank 37 is device 5 of node 2. Rank r is on device r."""
    levels, found = plan.cluster.levels, []
    for at, level in enumerate(levels):
        inside = prod(each.size for each in levels[at + 1 :])
        name = levels[at + 1].name if at + 1 < len(levels) else "device"
        found.append((name, rank // inside % level.size))
    return tuple(found)


def _peers(plan: Plan, rank: int, each: Carried) -> Peers:
    return Peers(each, plan.mesh.group(rank, each.axes), plan.mesh.index(rank, each.axes))


def _buffers(of: Overview, index: int) -> Figure | None:
    """What goes into the collectives and sends of a step; of it, `wires.py` says what leaves the rank."""
    if of.job is None:
        return None
    parts = [part for place in of.job.list_stage_indices(index) for part in explain_traffic(of.job, place)]
    return add_figures("buffers", parts) if parts else None
