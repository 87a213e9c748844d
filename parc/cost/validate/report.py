"""The table: how far predictions are from measurements, and what choosing by them costs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, median
from time import process_time
from typing import NamedTuple

from parc.cost.memory.peak import memory
from parc.cost.timing.constants import Constants, calibrations
from parc.cost.timing.step import predict
from parc.cost.validate import measured, published
from parc.cost.validate.rows import Row


class Errors(NamedTuple):
    """Shares of the measured value. `bias` is negative where predictions are too low."""

    rows: int
    mean: float
    median: float
    bias: float


class Regret(NamedTuple):
    """`groups` with at least two runs; how much slower than the best measured one the predicted best is."""

    groups: int
    mean: float
    worst: float
    chance: float  # the mean regret of a run that is drawn at random


def rows() -> list[Row]:
    return [*measured.rows(), *published.rows()]


def errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """Over (predicted, measured).

    Raises:
        ValueError: there are none.
    """
    signed = [predicted / measured - 1 for predicted, measured in pairs]
    if not signed:
        raise ValueError("no rows")
    absolute = [abs(each) for each in signed]
    return Errors(len(signed), mean(absolute), median(absolute), mean(signed))


def regret(predicted: Sequence[tuple[Row, float]]) -> Regret | None:
    """None where there is no choice."""
    groups = defaultdict(list)
    for row, seconds in predicted:
        groups[row.group].append((seconds, row.seconds))
    lost, chance = [], []
    for runs in groups.values():
        if len({round(seconds, 9) for seconds, _ in runs}) < 2:  # one layout, measured several times
            continue
        best = min(seconds for _, seconds in runs)
        lost.append(min(runs)[1] / best - 1)
        chance.append(mean(seconds for _, seconds in runs) / best - 1)
    return Regret(len(lost), mean(lost), max(lost), mean(chance)) if lost else None


def predictions(known: Iterable[Row]) -> list[tuple[Row, float]]:
    constants = calibrations()
    return [(row, row.predicted(constants[row.kind].constants)) for row in known]


def peaks(known: Iterable[Row]) -> list[tuple[float, float]]:
    """(predicted, measured) bytes of the fullest device."""
    return [
        (max(memory(row.job, rank).peak for rank in range(row.job.degrees.pipeline)), row.peak)
        for row in known
        if row.peak
    ]


def speed(known: Sequence[Row], constants: Constants) -> float:
    """Plans a second, time and memory of each, over the rows with pp x microbatches up to 256."""
    jobs = [
        replace(row.job)  # one of which nothing has been found yet
        for row in known
        if row.what == "step" and row.job.degrees.pipeline * row.job.layout.microbatches <= 256
    ]
    begin = process_time()
    for job in jobs:
        predict(job, constants)
        for rank in range(job.degrees.pipeline):
            memory(job, rank)
    return len(jobs) / (process_time() - begin)


def table() -> str:
    known = rows()
    done = predictions(known)
    lines = ["step times: predicted against measured", HEADER]
    for fitted, title in ((True, "seen by the fit"), (False, "held out")):
        lines.append(f"  {title}")
        sources = defaultdict(list)
        for row, seconds in done:
            if row.fitted == fitted:
                sources[row.source].append((row, seconds))
        for source, pairs in sorted(sources.items()):
            lines.append(_line(source, pairs))
        every = [pair for pairs in sources.values() for pair in pairs]
        lines.append(_line("all of them", every))
    lines += ["", "peak memory: predicted against measured; nothing is fitted", HEADER]
    by_source = defaultdict(list)
    for row in known:
        if row.peak:
            by_source[row.source].append(row)
    for source, some in sorted(by_source.items()):
        lines.append(_errors(source, errors(peaks(some))))
    constants = next(iter(calibrations().values())).constants
    lines += ["", f"{speed(known, constants):,.0f} plans a second, time and memory of every stage"]
    return "\n".join(lines) + "\n"


HEADER = f"  {'':<42}{'rows':>5}{'mean':>8}{'median':>8}{'bias':>8}   regret (worst; of chance) in groups"


def _line(source: str, pairs: Sequence[tuple[Row, float]]) -> str:
    text = _errors(source, errors((seconds, row.seconds) for row, seconds in pairs))
    lost = regret(pairs)
    if lost is None:
        return text
    return f"{text}   {lost.mean:.1%} ({lost.worst:.1%}; {lost.chance:.0%}) in {lost.groups}"


def _errors(source: str, found: Errors) -> str:
    return f"    {source:<40}{found.rows:>5}{found.mean:>8.1%}{found.median:>8.1%}{found.bias:>+8.1%}"
