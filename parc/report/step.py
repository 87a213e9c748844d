"""The simulated step: all passes, gradient sums and the optimizer, and the figures that follow."""

from __future__ import annotations

from dataclasses import dataclass

from parc.cost.explain import explain_mfu, explain_step
from parc.cost.figure import Figure
from parc.cost.job.job import Job
from parc.cost.memory import parameters
from parc.cost.schedule.timeline import TimedPass, assume_equal_times, simulate_passes
from parc.cost.timing.constants import find_nearest_calibration
from parc.cost.timing.step import StepTime, predict_step
from parc.report.missing import check_schedule


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of the step of a pipeline rank: its gradient sum, then the optimizer. In seconds."""

    begin: float
    sums: float
    update: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The passes of all pipeline ranks. `seconds` is None if only their order is known.

    `end` is the end of the last pass; at `ready` all ranks have summed their gradients.
    """

    events: tuple[TimedPass, ...]
    ranks: int
    end: float
    waits: Figure
    ready: float
    tails: tuple[Tail, ...]
    seconds: float | None


@dataclass(frozen=True, slots=True)
class StepOverview:
    timeline: Timeline | None  # None: it cannot be simulated
    time: Figure | None
    mfu: Figure | None
    tokens: Figure | None  # per second

    @property
    def waits(self) -> Figure | None:
        return self.timeline.waits if self.timeline else None


def describe_step(job: Job) -> StepOverview | None:
    """The overview of the step; None if neither its time nor the order of its passes is known."""
    unsimulated = check_schedule(job)
    if job.hardware is None:
        return None if unsimulated else StepOverview(_simulate_order(job), None, None, None)
    try:
        time = explain_step(job)
    except ValueError:  # no schedule for these chunks and microbatches, which `missing.py` reports
        return None
    count = parameters.count_tokens(job)
    how = f"{count:,.0f} tokens / {time.value:.4g} s"
    rate = Figure("tokens/s", count / time.value, "", how, time.grade)
    found = predict_step(job, find_nearest_calibration(job.require_hardware()).constants)
    return StepOverview(None if unsimulated else _simulate_step(job, found), time, explain_mfu(job), rate)


def _simulate_order(job: Job) -> Timeline:
    """The timeline of the schedule alone: with equal stages, and sends that take no time."""
    count = len(job.stages)
    layout = job.parallelism
    hops = [0.0] * (count - 1)
    played = simulate_passes(
        layout.schedule, layout.microbatches, assume_equal_times(count), hops, layout.chunks
    )
    ranks = job.degrees.pipeline
    end = max(each.end for each in played)
    return Timeline(tuple(played), ranks, end, _compute_waits(played, ranks, end, False), end, (), None)


def _simulate_step(job: Job, found: StepTime) -> Timeline:
    layout, ranks = job.parallelism, job.degrees.pipeline
    played = simulate_passes(
        layout.schedule, layout.microbatches, found.stage_times, found.hops, layout.chunks
    )
    ends = [0.0] * ranks
    for each in played:
        ends[each.rank] = max(ends[each.rank], each.end)
    tails = tuple(
        Tail(*each) for each in zip(ends, found.gradients_by_rank, found.optimizer_by_rank, strict=True)
    )
    ready = max(each.begin + each.sums for each in tails)
    return Timeline(
        tuple(played),
        ranks,
        found.pipeline,
        _compute_waits(played, ranks, found.pipeline, True),
        ready,
        tails,
        found.seconds,
    )


def _compute_waits(played: list[TimedPass], ranks: int, end: float, timed: bool) -> Figure:
    """The share of the time of the pipeline in which ranks wait, averaged over its ranks.

    It includes the bubble of the schedule, unequal stages and the transfers between them.
    """
    busy = sum(each.end - each.begin for each in played)
    share = max(1 - busy / (ranks * end), 0.0) if end else 0.0
    if timed:
        how = f"1 - {busy:.4g} s of passes / ({ranks} ranks x {end:.4g} s)"
        return Figure("waits", share, "", how, "estimated")
    how = f"1 - {busy:g} / ({ranks} ranks x {end:g}), a backward pass takes as long as two forward passes"
    return Figure("waits", share, "", how, "estimated")
