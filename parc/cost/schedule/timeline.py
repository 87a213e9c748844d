"""Simulates a pipeline: when each pass begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from parc.named_tuple import NamedTuple
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass
from parc.schedule.order import MAX_PASSES, order_passes
from parc.schedule.whole_backward import Pass, PassKind


class TimedPass(NamedTuple):
    """A pass of a pipeline rank; `begin` and `end` in seconds."""

    rank: int
    kind: PassKind
    stage: int
    microbatch: int
    begin: float
    end: float


class StageTimes(NamedTuple):
    """Seconds of one microbatch's passes, by stage; halves of backward passes where the schedule has them."""

    forward: Sequence[float]
    backward: Sequence[float]
    inputs: Sequence[float] = ()
    weights: Sequence[float] = ()


KINDS: tuple[PassKind, ...] = ("forward", "backward", "inputs", "weights")  # in the order of `StageTimes`
INPUT, NONE = -1, -2  # results: the input of the first stage, there from the beginning; none


def assume_equal_times(stages: int) -> StageTimes:
    """Where no time is known: a backward pass has two matmuls for each one of a forward pass."""
    return StageTimes(*([unit] * stages for unit in (1.0, 2.0, 1.0, 1.0)))


@dataclass(frozen=True, slots=True)
class PipelineTimes:
    """`seconds` from the first pass to the last; `ends[r]` is when rank r has finished its last pass."""

    seconds: float
    ends: tuple[float, ...]


class _Step(NamedTuple):
    """A pass by numbers.

    A result is that of a forward pass, of a backward pass or its first half, of a second half, or of a
    forward pass that is not sent yet: the next pass of the rank then completes it too.
    """

    rank: int
    result: int
    completes: int  # another result that is complete with it
    awaits: int  # the result that it waits for
    cost: int  # index of its duration, and
    hop: int  # of the transfer before it


@lru_cache(maxsize=1024)
def _resolve_order(schedule: str, ranks: int, chunks: int, microbatches: int) -> tuple[_Step, ...]:
    """All passes in an order in which each comes after what it waits for: no time depends on it."""
    stages = ranks * chunks
    queues = [iter(order_passes(schedule, ranks, chunks, microbatches, rank)) for rank in range(ranks)]
    steps: list[_Step] = []
    done = [False] * (4 * stages * microbatches + 2)
    done[INPUT] = True
    waiting: dict[int, tuple[int, _Step]] = {}
    ready = list(range(ranks))
    deferred = [NONE] * ranks
    while ready:
        rank = ready.pop()
        for each in queues[rank]:
            step = _number_pass(each, deferred[rank], rank, stages, microbatches)
            deferred[rank] = step.result % (stages * microbatches) if each.deferred else NONE
            if not done[step.awaits]:
                waiting[step.awaits] = (rank, step)
                break
            _complete(step, steps, done, waiting, ready)
    if waiting:
        raise ValueError(f"{schedule} on {ranks} ranks with {microbatches} microbatches waits for itself")
    return tuple(steps)


def _complete(
    step: _Step, steps: list[_Step], done: list[bool], waiting: dict[int, tuple[int, _Step]], ready: list[int]
) -> None:
    """Appends a step, and every step that has been waiting for it, directly or not."""
    pending = [step]
    while pending:
        step = pending.pop()
        steps.append(step)
        for result in (step.result, step.completes):
            done[result] = True
            if result in waiting:
                rank, released = waiting.pop(result)
                pending.append(released)
                ready.append(rank)


def _number_pass(each: Pass, completes: int, rank: int, stages: int, microbatches: int) -> _Step:
    kind, stage, microbatch, deferred = each
    all, own = stages * microbatches, stage * microbatches + microbatch
    cost = KINDS.index(kind) * stages + stage
    if kind == "forward":
        before = own - microbatches if stage else INPUT
        return _Step(rank, 3 * all + own if deferred else own, completes, before, cost, stage - 1)
    if kind == "weights":
        return _Step(rank, 2 * all + own, completes, all + own, cost, -1)
    after = all + own + microbatches if stage + 1 < stages else own
    return _Step(rank, all + own, completes, after, cost, stage)


def simulate_pipeline(
    schedule: str, microbatches: int, times: StageTimes, hops: Sequence[float], chunks: int = 1
) -> PipelineTimes:
    """Runs a schedule; `hops[s]` is the transfer between stages s and s + 1, in seconds.

    Of more than `MAX_PASSES` passes it simulates as many rounds of one microbatch for each rank as it may.
    For each of the others it adds the mean time of a round in the later half: a full pipeline repeats
    itself.

    Raises:
        ValueError: as `order_passes`.
    """
    if len(times.forward) == 1:
        backward = times.inputs[0] + times.weights[0] if schedule in SPLIT else times.backward[0]
        seconds = microbatches * (times.forward[0] + backward)
        return PipelineTimes(seconds, (seconds,))
    most = MAX_PASSES // len(times.forward)
    ranks = len(times.forward) // chunks
    fewer = most - (most - microbatches) % ranks
    if microbatches <= most or fewer <= 4 * ranks:
        _, clocks = _run(schedule, microbatches, times, hops, chunks)
        return PipelineTimes(max(clocks), tuple(clocks))
    _, clocks = _run(schedule, fewer, times, hops, chunks)
    half = fewer // (2 * ranks) * ranks
    _, before = _run(schedule, fewer - half, times, hops, chunks)
    more = (microbatches - fewer) / half
    ends = tuple(end + more * (end - earlier) for end, earlier in zip(clocks, before, strict=True))
    return PipelineTimes(max(ends), ends)


def simulate_passes(
    schedule: str, microbatches: int, times: StageTimes, hops: Sequence[float], chunks: int = 1
) -> list[TimedPass]:
    """The same, as a list of all passes.

    Raises:
        ValueError: as `order_passes`.
    """
    ends, _ = _run(schedule, microbatches, times, hops, chunks)
    stages, found = len(times.forward), []
    for rank, result, _, _, cost, _ in _resolve_order(schedule, stages // chunks, chunks, microbatches):
        kind, stage = KINDS[cost // stages], cost % stages
        seconds = getattr(times, kind)[stage]
        microbatch = result % microbatches
        found.append(TimedPass(rank, kind, stage, microbatch, ends[result] - seconds, ends[result]))
    return found


def _run(
    schedule: str, microbatches: int, times: StageTimes, hops: Sequence[float], chunks: int
) -> tuple[list[float], list[float]]:
    """When each result is complete, and when each rank has finished."""
    stages = len(times.forward)
    steps = _resolve_order(schedule, stages // chunks, chunks, microbatches)
    costs = [cost for each in times for cost in each]
    gaps = [*hops, 0.0, 0.0]  # from the last forward pass to its backward pass, and into the first stage
    ends = [0.0] * (4 * stages * microbatches + 2)
    clocks = [0.0] * (stages // chunks)
    for rank, result, completes, awaits, cost, hop in steps:
        begin = ends[awaits] + gaps[hop]
        if begin < clocks[rank]:
            begin = clocks[rank]
        ends[result] = ends[completes] = clocks[rank] = begin + costs[cost]
    return ends, clocks
