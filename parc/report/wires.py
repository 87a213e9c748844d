"""Bytes that one rank gives to each level of the network in a step, by strategy.

`parc/cost/traffic.py` says what goes into each collective. What of it crosses which links:
an all-to-all sends each peer its part, so the share of a level is that of the peers beyond it; a send goes to
one neighbour. A gather or reduction is counted level by level: with f members at a level, (f - 1) / f of what
the levels within have left of the buffer, twice for an all-reduce. That is what a hierarchical library moves;
a flat ring gives the outer links no less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from parc.cost.figure import GRADES, Figure, Grade
from parc.cost.job import Fans, Job
from parc.cost.traffic import Moved, traffic
from parc.plan.facts import Plan
from parc.report.groups import Carried, carried

PAIRS = ("all_to_all", "send")  # whose links no library chooses
HOW = {
    "all_to_all": "to peers beyond each level",
    "send": "to the neighbour in the pipeline",
    "all_reduce": "2 (f - 1) / f of the buffer, level by level",
    "all_gather": "(f - 1) / f of the buffer, level by level",
    "reduce_scatter": "(f - 1) / f of the buffer, level by level",
}


@dataclass(frozen=True, slots=True)
class Crossing:
    """Bytes of one rank and one step over the links of one level, for one strategy."""

    carried: Carried
    level: str
    calls: tuple[tuple[str, int], ...]  # of each kind, in a step
    bytes: Figure


def crossings(plan: Plan, job: Job, index: int) -> tuple[Crossing, ...]:
    """Of one rank at this index of the pipeline: strategy by strategy, innermost level first."""
    levels = [level.name for level in reversed(plan.cluster.levels)]
    found: list[Crossing] = []
    for each in carried(plan):
        moved = [
            (one, _levels(job, one, place))
            for place in job.places(index)
            for one in traffic(job, place)
            if one.over == each.key
        ]
        for number, level in enumerate(levels):
            parts = [_figure(one, bytes[number]) for one, bytes in _present(moved, number)]
            if parts:
                total = sum(part.value for part in parts)
                calls: dict[str, int] = {}
                for one, _ in _present(moved, number):
                    calls[one.kind] = calls.get(one.kind, 0) + one.calls
                how = "; ".join(f"{kind}: {HOW[kind]}" for kind in calls)
                worst = max((part.grade for part in parts), key=GRADES.index)
                figure = Figure(f"{each.title} over {level}", total, "B", how, worst, tuple(parts))
                found.append(Crossing(each, level, tuple(calls.items()), figure))
    return tuple(found)


def _present(
    moved: list[tuple[Moved, tuple[float, ...]]], number: int
) -> Iterator[tuple[Moved, tuple[float, ...]]]:
    return ((one, bytes) for one, bytes in moved if number < len(bytes) and bytes[number])


def _figure(one: Moved, bytes: float) -> Figure:
    grade: Grade = "expected" if one.routed else "exact" if one.kind in PAIRS else "estimated"
    how = f"{one.calls:,} x {bytes:,.0f} B of {one.kind} of {one.bytes:,.0f} B"
    return Figure(one.what, bytes * one.calls, "B", how, grade)


def _levels(job: Job, one: Moved, place: int) -> tuple[float, ...]:
    """Bytes of one call of a stage by level, innermost first."""
    fans: Fans = getattr(job.layout.reach, one.over)
    if one.kind == "all_to_all":
        return tuple(one.bytes * share for share in beyond(fans))
    if one.kind == "send":
        level = crossed(fans, job.link(place if one.what == "activations" else place - 1))
        return tuple(one.bytes if number == level else 0.0 for number in range(len(fans)))
    passes, left, bytes = 2 if one.kind == "all_reduce" else 1, one.bytes, []
    for fan in fans:
        bytes.append(passes * (fan - 1) / fan * left)
        left /= fan
    return tuple(bytes)


def beyond(fans: Fans) -> Iterator[float]:
    """The share of a group's members whose path from one of them ends at each level."""
    within, size = 1.0, prod(fans)
    for fan in fans:
        yield (within * fan - within) / size
        within *= fan


def crossed(fans: Fans, index: int) -> int:
    """The level of the link from member `index` to the next; of the last one, that back to the first."""
    reach = 1.0
    for level, fan in enumerate(fans):
        reach *= fan
        if (index + 1) % reach:
            return level
    return max(level for level, fan in enumerate(fans) if fan > 1)
