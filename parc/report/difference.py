"""Compares two plans: their settings, assignment, bytes and times, and whether both compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from parc.cost.figure import Figure
from parc.report.assignment import describe_assignment
from parc.report.missing import MissingFigures
from parc.report.overview import Overview
from parc.report.settings import SettingChange, compare_clusters, compare_placements, compare_trains


class Change(NamedTuple):
    """A figure before and after; None if a plan does not have it."""

    name: str
    before: Figure | None
    after: Figure | None

    @property
    def ratio(self) -> float | None:
        """After / before; None if a plan lacks the figure or the first one is zero."""
        if self.before is None or self.after is None or not self.before.value:
            return None
        return self.after.value / self.before.value


@dataclass(frozen=True, slots=True)
class Difference:
    """`train` is empty if both plans compute the same. Figures are those of the rank with the most."""

    before: Overview
    after: Overview
    train: tuple[SettingChange, ...]
    cluster: tuple[SettingChange, ...]
    placement: tuple[SettingChange, ...]
    assignment: tuple[SettingChange, ...]
    memory: tuple[Change, ...]
    traffic: tuple[Change, ...]
    step: tuple[Change, ...]
    missing: tuple[MissingFigures, ...]


def compare_plans(before: Overview, after: Overview) -> Difference:
    one, other = before.plan, after.plan
    old, new = describe_assignment(one), describe_assignment(other)
    moved = (SettingChange(key, old.get(key, "-"), new.get(key, "-")) for key in {**old, **new})
    return Difference(
        before,
        after,
        compare_trains(one.train, other.train),
        compare_clusters(one.cluster, other.cluster),
        compare_placements(one, other),
        tuple(each for each in moved if each.before != each.after),
        _pair_figures(_list_memory(before), _list_memory(after)),
        _pair_figures(_list_traffic(before), _list_traffic(after)),
        _pair_figures(_list_step(before), _list_step(after)),
        tuple(dict.fromkeys((*before.missing, *after.missing))),
    )


def _pair_figures(before: Iterable[Figure], after: Iterable[Figure]) -> tuple[Change, ...]:
    old, new = ({figure.name: figure for figure in some} for some in (before, after))
    return tuple(Change(name, old.get(name), new.get(name)) for name in {**old, **new})


def _list_memory(overview: Overview) -> Iterator[Figure]:
    known = [stage.memory for stage in overview.stages if stage.memory]
    if known:
        fullest = max(known, key=lambda each: each.value)
        yield from (part for part in fullest.parts if part.value)
        yield fullest


def _list_traffic(overview: Overview) -> Iterator[Figure]:
    if overview.traffic:
        busiest = max(overview.traffic, key=lambda stage: sum(each.sent.value for each in stage))
        yield from (each.sent for each in busiest)


def _list_step(overview: Overview) -> Iterator[Figure]:
    known: tuple[Figure | None, ...] = (overview.flops, overview.bubble)
    if overview.step:
        known += (overview.step.waits, overview.step.time, overview.step.mfu, overview.step.tokens)
    yield from (each for each in known if each)
