"""One step, simulated: every pass, the sums of gradients, the optimizer; and what follows from its length."""

from __future__ import annotations

from dataclasses import dataclass

from parc.cost.explain import explain_mfu, explain_step
from parc.cost.figure import Figure
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.schedule.timeline import TimedPass, assume_equal_times, simulate_passes
from parc.cost.timing.constants import find_nearest_calibration
from parc.cost.timing.step import StepTime, predict_step
from parc.report.missing import unplayed


@dataclass(frozen=True, slots=True)
class Tail:
    """After the last pass of a rank of the pipeline: its gradients' sum, then the optimizer; in seconds."""

    begin: float
    sums: float
    update: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The passes of all ranks of the pipeline. `seconds` is None where only their order is known.

    `end` is that of the last pass, `ready` when every rank has its gradients.
    """

    events: tuple[TimedPass, ...]
    ranks: int
    end: float
    waits: Figure
    ready: float
    tails: tuple[Tail, ...]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class StepFacts:
    timeline: Timeline | None  # None: it has too many passes
    time: Figure | None
    mfu: Figure | None
    tokens: Figure | None  # a second

    @property
    def waits(self) -> Figure | None:
        return self.timeline.waits if self.timeline else None


def step_facts(job: Job) -> StepFacts | None:
    """None where nothing is known: no time, and no order of passes that could be shown."""
    long = unplayed(job)
    if job.hardware is None:
        return None if long else StepFacts(_unit_line(job), None, None, None)
    try:
        time = explain_step(job)
    except ValueError:  # no schedule of these chunks and microbatches: `missing.py` tells it
        return None
    count = parameters.count_tokens(job)
    how = f"{count:,.0f} tokens / {time.value:.4g} s"
    rate = Figure("tokens/s", count / time.value, "", how, time.grade)
    found = predict_step(job, find_nearest_calibration(job.require_hardware()).constants)
    return StepFacts(None if long else _line(job, found), time, explain_mfu(job), rate)


def _unit_line(job: Job) -> Timeline:
    """The schedule alone: every stage takes as long as every other, and sending takes none."""
    count = len(job.stages)
    layout = job.parallelism
    hops = [0.0] * (count - 1)
    played = simulate_passes(
        layout.schedule, layout.microbatches, assume_equal_times(count), hops, layout.chunks
    )
    ranks = job.degrees.pipeline
    end = max(each.end for each in played)
    return Timeline(tuple(played), ranks, end, _waits(played, ranks, end, False), end, (), None)


def _line(job: Job, found: StepTime) -> Timeline:
    layout, ranks = job.parallelism, job.degrees.pipeline
    played = simulate_passes(
        layout.schedule, layout.microbatches, found.stage_times, found.hops, layout.chunks
    )
    ends = [0.0] * ranks
    for each in played:
        ends[each.rank] = max(ends[each.rank], each.end)
    tails = tuple(
        Tail(*of) for of in zip(ends, found.gradients_by_rank, found.optimizer_by_rank, strict=True)
    )
    ready = max(each.begin + each.sums for each in tails)
    return Timeline(
        tuple(played),
        ranks,
        found.pipeline,
        _waits(played, ranks, found.pipeline, True),
        ready,
        tails,
        found.seconds,
    )


def _waits(played: list[TimedPass], ranks: int, end: float, timed: bool) -> Figure:
    """The share of the pipeline's time in which a rank has no pass to make, in the mean over its ranks.

    The bubble of the schedule, and what unequal stages and transfers between them add to it.
    """
    busy = sum(each.end - each.begin for each in played)
    share = max(1 - busy / (ranks * end), 0.0) if end else 0.0
    if timed:
        how = f"1 - {busy:.4g} s of passes / ({ranks} ranks x {end:.4g} s)"
        return Figure("waits", share, "", how, "estimated")
    how = f"1 - {busy:g} / ({ranks} ranks x {end:g}), a backward pass as long as two forward ones"
    return Figure("waits", share, "", how, "estimated")
