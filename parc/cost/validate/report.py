"""The table of `parc validate`: errors of predictions, and the cost of choosing a layout by them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import mean, median
from time import process_time
from typing import NamedTuple

from parc.cost.memory.peak import predict_memory
from parc.cost.timing.constants import Constants, load_calibrations
from parc.cost.timing.step import predict_step
from parc.cost.validate import measured, published
from parc.cost.validate.rows import Row


class Errors(NamedTuple):
    """Errors as shares of the measured value. `bias` is negative where predictions are too low."""

    rows: int
    mean: float
    median: float
    bias: float


class Regret(NamedTuple):
    """By how much the run that is predicted best is slower than the best one, over groups of at least two."""

    groups: int
    mean: float
    worst: float
    chance: float  # the mean regret of a random choice


def load_rows() -> list[Row]:
    """All measured and published runs."""
    return [*measured.load_rows(), *published.load_rows()]


def measure_errors(pairs: Iterable[tuple[float, float]]) -> Errors:
    """The errors of (predicted, measured) pairs.

    Raises:
        ValueError: there are no pairs.
    """
    signed = [predicted / measured - 1 for predicted, measured in pairs]
    if not signed:
        raise ValueError("no rows")
    absolute = [abs(each) for each in signed]
    return Errors(len(signed), mean(absolute), median(absolute), mean(signed))


def measure_regret(predicted: Sequence[tuple[Row, float]]) -> Regret | None:
    """None if no group has two different layouts."""
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


def predict_rows(known: Iterable[Row]) -> list[tuple[Row, float]]:
    """Each run with its predicted seconds."""
    constants = load_calibrations()
    return [(row, row.predict(constants[row.kind].constants)) for row in known]


def predict_peaks(known: Iterable[Row]) -> list[tuple[float, float]]:
    """(predicted, measured) bytes of the fullest device."""
    return [
        (max(predict_memory(row.job, rank).peak for rank in range(row.job.degrees.pipeline)), row.peak)
        for row in known
        if row.peak
    ]


def measure_speed(known: Sequence[Row], constants: Constants) -> float:
    """Plans a second, with time and memory of each; of rows with at most 256 passes through the pipeline."""
    jobs = [
        replace(row.job)  # with an empty cache
        for row in known
        if row.measurement == "step" and row.job.degrees.pipeline * row.job.parallelism.microbatches <= 256
    ]
    begin = process_time()
    for job in jobs:
        predict_step(job, constants)
        for rank in range(job.degrees.pipeline):
            predict_memory(job, rank)
    return len(jobs) / (process_time() - begin)


def format_table() -> str:
    """The text that `parc validate` prints."""
    known = load_rows()
    done = predict_rows(known)
    lines = ["step times: predicted against measured", HEADER]
    for fitted, title in ((True, "fitted"), (False, "held out")):
        lines.append(f"  {title}")
        sources = defaultdict(list)
        for row, seconds in done:
            if row.fitted == fitted:
                sources[row.source].append((row, seconds))
        for source, pairs in sorted(sources.items()):
            lines.append(_format_row(source, pairs))
        every = [pair for pairs in sources.values() for pair in pairs]
        lines.append(_format_row("all of them", every))
    lines += ["", "peak memory: predicted against measured; nothing is fitted", HEADER]
    by_source = defaultdict(list)
    for row in known:
        if row.peak:
            by_source[row.source].append(row)
    for source, some in sorted(by_source.items()):
        lines.append(_format_errors(source, measure_errors(predict_peaks(some))))
    constants = next(iter(load_calibrations().values())).constants
    lines += ["", f"{measure_speed(known, constants):,.0f} plans a second, time and memory of every stage"]
    return "\n".join(lines) + "\n"


HEADER = f"  {'':<42}{'rows':>5}{'mean':>8}{'median':>8}{'bias':>8}   regret (worst; random choice) in groups"


def _format_row(source: str, pairs: Sequence[tuple[Row, float]]) -> str:
    text = _format_errors(source, measure_errors((seconds, row.seconds) for row, seconds in pairs))
    lost = measure_regret(pairs)
    if lost is None:
        return text
    return f"{text}   {lost.mean:.1%} ({lost.worst:.1%}; {lost.chance:.0%}) in {lost.groups}"


def _format_errors(source: str, found: Errors) -> str:
    return f"    {source:<40}{found.rows:>5}{found.mean:>8.1%}{found.median:>8.1%}{found.bias:>+8.1%}"
