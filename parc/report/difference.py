"""What changes from one plan to another: placements, bytes, time; and whether both compute the same."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from parc.cost.figure import Figure
from parc.report.missing import Missing
from parc.report.overview import Overview
from parc.report.placements import homes
from parc.report.settings import Said, of_cluster, of_placement, of_train


class Change(NamedTuple):
    """A figure before and after; None where a plan has none."""

    name: str
    before: Figure | None
    after: Figure | None

    @property
    def ratio(self) -> float | None:
        """After over before, where that says something."""
        if self.before is None or self.after is None or not self.before.value:
            return None
        return self.after.value / self.before.value


@dataclass(frozen=True, slots=True)
class Difference:
    """`train` is empty where both plans compute the same. Figures are of the fullest or busiest rank."""

    before: Overview
    after: Overview
    train: tuple[Said, ...]
    cluster: tuple[Said, ...]
    placement: tuple[Said, ...]
    homes: tuple[Said, ...]
    memory: tuple[Change, ...]
    traffic: tuple[Change, ...]
    step: tuple[Change, ...]
    missing: tuple[Missing, ...]


def difference(before: Overview, after: Overview) -> Difference:
    one, other = before.plan, after.plan
    old, new = homes(one), homes(other)
    moved = (Said(key, old.get(key, "-"), new.get(key, "-")) for key in {**old, **new})
    return Difference(
        before,
        after,
        of_train(one.train, other.train),
        of_cluster(one.cluster, other.cluster),
        of_placement(one, other),
        tuple(each for each in moved if each.before != each.after),
        _changes(_memory(before), _memory(after)),
        _changes(_traffic(before), _traffic(after)),
        _changes(_step(before), _step(after)),
        tuple(dict.fromkeys((*before.missing, *after.missing))),
    )


def _changes(before: Iterable[Figure], after: Iterable[Figure]) -> tuple[Change, ...]:
    old, new = ({figure.name: figure for figure in some} for some in (before, after))
    return tuple(Change(name, old.get(name), new.get(name)) for name in {**old, **new})


def _memory(of: Overview) -> Iterator[Figure]:
    known = [stage.memory for stage in of.stages if stage.memory]
    if known:
        fullest = max(known, key=lambda each: each.value)
        yield from (part for part in fullest.parts if part.value)
        yield fullest


def _traffic(of: Overview) -> Iterator[Figure]:
    if of.traffic:
        busiest = max(of.traffic, key=lambda stage: sum(each.sent.value for each in stage))
        yield from (each.sent for each in busiest)


def _step(of: Overview) -> Iterator[Figure]:
    known: tuple[Figure | None, ...] = (of.flops, of.bubble)
    if of.step:
        known += (of.step.waits, of.step.time, of.step.mfu, of.step.tokens)
    yield from (each for each in known if each)
