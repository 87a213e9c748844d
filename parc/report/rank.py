"""The overview of one rank: its place, what it holds, and its groups, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from parc.cost.explain import explain_traffic
from parc.cost.figure import Figure, add_figures
from parc.plan import placement
from parc.plan.blocks import Plan
from parc.plan.mesh import Lattice
from parc.report.groups import Strategy, list_strategies
from parc.report.overview import Overview
from parc.report.stages import StageRow


@dataclass(frozen=True, slots=True)
class Peers:
    """The group of a rank for one strategy or axis, and the position of the rank in it."""

    strategy: Strategy
    ranks: Lattice
    position: int


@dataclass(frozen=True, slots=True)
class RankOverview:
    rank: int
    coordinates: dict[str, int]
    place: tuple[
        tuple[str, int], ...
    ]  # (level, index of its unit within the enclosing unit), then the device
    stage: StageRow
    experts: range
    sequences: range  # of the first microbatch
    axes: tuple[Peers, ...]
    strategies: tuple[Peers, ...]
    holds: Figure | None
    buffers: Figure | None


def describe_rank(overview: Overview, rank: int) -> RankOverview:
    """The overview of a rank.

    Raises:
        IndexError: there is no such rank.
    """
    plan, mesh = overview.plan, overview.plan.mesh
    index = mesh.index(rank, plan.pipeline.axes) if plan.pipeline else 0
    stage = overview.stages[index]
    axes = (Strategy(axis.name, axis.name, (axis.name,)) for axis in mesh.axes)
    return RankOverview(
        rank,
        mesh.coordinates(rank),
        locate_rank(plan, rank),
        stage,
        placement.locate_experts(plan, rank) if stage.experts else range(0),
        placement.locate_sequences(plan, rank, 0),
        tuple(_build_peers(plan, rank, each) for each in axes),
        tuple(_build_peers(plan, rank, each) for each in list_strategies(plan)),
        stage.memory,
        _sum_buffers(overview, index),
    )


def locate_rank(plan: Plan, rank: int) -> tuple[tuple[str, int], ...]:
    """The device of a rank, level by level. On `fabric 8 x node 16`, rank 37 is device 5 of node 2."""
    levels, found = plan.cluster.levels, []
    for at, level in enumerate(levels):
        inside = prod(each.size for each in levels[at + 1 :])
        name = levels[at + 1].name if at + 1 < len(levels) else "device"
        found.append((name, rank // inside % level.size))
    return tuple(found)


def _build_peers(plan: Plan, rank: int, each: Strategy) -> Peers:
    return Peers(each, plan.mesh.group(rank, each.axes), plan.mesh.index(rank, each.axes))


def _sum_buffers(overview: Overview, index: int) -> Figure | None:
    """Bytes that the rank passes to the collectives and sends of a step."""
    if overview.job is None:
        return None
    parts = [
        part
        for place in overview.job.list_stage_indices(index)
        for part in explain_traffic(overview.job, place)
    ]
    return add_figures("buffers", parts) if parts else None
