"""Bytes that one rank sends over the links of each level of the network in a step, by strategy.

`parc/cost/network/traffic.py` has the buffers of each collective, `parc/cost/network/link_levels.py` which
bytes of them cross each level of links.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from parc.cost.figure import GRADES, Figure
from parc.cost.job.job import Job
from parc.cost.job.parallelism import GroupName
from parc.cost.network.link_levels import count_bytes_by_level, grade_sent_bytes
from parc.cost.network.traffic import Transfer, derive_traffic
from parc.plan.blocks import Plan
from parc.report.groups import Strategy, list_strategies

HOW = {
    "all_to_all": "to peers beyond each level",
    "send": "to the neighbour in the pipeline",
    "all_reduce": "2 (f - 1) / f of the buffer, level by level",
    "all_gather": "(f - 1) / f of the buffer, level by level",
    "reduce_scatter": "(f - 1) / f of the buffer, level by level",
}
ALSO: dict[str, tuple[GroupName, ...]] = {"experts": ("dispatch", "expert_terms")}
"""Groups of the job that are parts of a strategy's, or lie beside them."""


@dataclass(frozen=True, slots=True)
class LinkTraffic:
    """Bytes that one rank sends in a step over the links of one level, for one strategy."""

    strategy: Strategy
    level: str
    calls: tuple[tuple[str, int], ...]  # (collective, calls in a step)
    sent: Figure


def list_link_traffic(plan: Plan, job: Job, index: int) -> tuple[LinkTraffic, ...]:
    """The traffic of pipeline rank `index`: strategy by strategy, innermost level first."""
    levels = [level.name for level in reversed(plan.cluster.levels)]
    found: list[LinkTraffic] = []
    strategies = list_strategies(plan)
    keys = {each.key for each in strategies}
    for each in strategies:
        own = {each.key, *ALSO.get(each.key, ())}
        if each.key == "data" and "expert_data" not in keys:  # experts are replicated on all data ranks
            own.add("expert_data")
        moved = [
            (one, count_bytes_by_level(job, one, place))
            for place in job.list_stage_indices(index)
            for one in derive_traffic(job, place)
            if one.group in own
        ]
        for number, level in enumerate(levels):
            parts = [_build_figure(one, bytes[number]) for one, bytes in _select_level(moved, number)]
            if parts:
                total = sum(part.value for part in parts)
                calls: dict[str, int] = {}
                for one, _ in _select_level(moved, number):
                    calls[one.kind] = calls.get(one.kind, 0) + one.calls
                how = "; ".join(f"{kind}: {HOW[kind]}" for kind in calls)
                worst = max((part.grade for part in parts), key=GRADES.index)
                figure = Figure(f"{each.title} over {level}", total, "B", how, worst, tuple(parts))
                found.append(LinkTraffic(each, level, tuple(calls.items()), figure))
    return tuple(found)


def _select_level(
    moved: list[tuple[Transfer, tuple[float, ...]]], number: int
) -> Iterator[tuple[Transfer, tuple[float, ...]]]:
    return ((one, bytes) for one, bytes in moved if number < len(bytes) and bytes[number])


def _build_figure(one: Transfer, bytes: float) -> Figure:
    how = f"{one.calls:,} x {bytes:,.0f} B of {one.kind} of {one.bytes:,.0f} B"
    return Figure(one.purpose, bytes * one.calls, "B", how, grade_sent_bytes(one))
