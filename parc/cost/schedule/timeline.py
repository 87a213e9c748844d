"""Pipelines, event by event: when each pass begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from parc.cost.schedule.order import MOST, order
from parc.cost.schedule.whole_backward import Kind, Pass
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass


class Event(NamedTuple):
    rank: int
    what: Pass
    begin: float
    end: float


class Times(NamedTuple):
    """Seconds of one microbatch's passes, by stage; halves of backward passes where the schedule has any."""

    forward: Sequence[float]
    backward: Sequence[float]
    inputs: Sequence[float] = ()
    weights: Sequence[float] = ()


KINDS: tuple[Kind, ...] = ("forward", "backward", "inputs", "weights")  # in the order of costs
INPUT, NONE = -1, -2  # results: what the first stage waits for, there from the beginning; none


def even(stages: int) -> Times:
    """Where no time is known: a backward pass has two matmuls for each of one in a forward pass."""
    return Times(*([unit] * stages for unit in (1.0, 2.0, 1.0, 1.0)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """`seconds` from the first pass to the last; `ends[r]` is when rank r has nothing left to do."""

    seconds: float
    ends: tuple[float, ...]


class _Step(NamedTuple):
    """A pass by numbers: its rank, its result and the one it waits for, the cost and the hop it takes.

    Results are those of forward passes, of backward passes or their first halves, of second halves, and of
    forward passes that are not sent yet: the next pass of the rank makes such a one its `also`.
    """

    rank: int
    result: int
    also: int
    awaits: int
    cost: int
    hop: int


@lru_cache(maxsize=1024)
def _steps(schedule: str, ranks: int, chunks: int, microbatches: int) -> tuple[_Step, ...]:
    """All passes in an order in which each comes after what it waits for: no time depends on it."""
    stages = ranks * chunks
    queues = [iter(order(schedule, ranks, chunks, microbatches, rank)) for rank in range(ranks)]
    steps: list[_Step] = []
    done = [False] * (4 * stages * microbatches + 2)
    done[INPUT] = True
    waiting: dict[int, tuple[int, _Step]] = {}
    ready = list(range(ranks))
    late = [NONE] * ranks
    while ready:
        rank = ready.pop()
        for one in queues[rank]:
            step = _numbered(one, late[rank], rank, stages, microbatches)
            late[rank] = step.result % (stages * microbatches) if one.held else NONE
            if not done[step.awaits]:
                waiting[step.awaits] = (rank, step)
                break
            _take(step, steps, done, waiting, ready)
    if waiting:
        raise ValueError(f"{schedule} on {ranks} ranks with {microbatches} microbatches waits for itself")
    return tuple(steps)


def _take(
    step: _Step, steps: list[_Step], done: list[bool], waiting: dict[int, tuple[int, _Step]], ready: list[int]
) -> None:
    """Notes a pass, and whatever had waited for it, and so on."""
    pending = [step]
    while pending:
        step = pending.pop()
        steps.append(step)
        for result in (step.result, step.also):
            done[result] = True
            if result in waiting:
                rank, released = waiting.pop(result)
                pending.append(released)
                ready.append(rank)


def _numbered(one: Pass, also: int, rank: int, stages: int, microbatches: int) -> _Step:
    kind, stage, microbatch, held = one
    all, own = stages * microbatches, stage * microbatches + microbatch
    cost = KINDS.index(kind) * stages + stage
    if kind == "forward":
        before = own - microbatches if stage else INPUT
        return _Step(rank, 3 * all + own if held else own, also, before, cost, stage - 1)
    if kind == "weights":
        return _Step(rank, 2 * all + own, also, all + own, cost, -1)
    after = all + own + microbatches if stage + 1 < stages else own
    return _Step(rank, all + own, also, after, cost, stage)


def simulate(
    schedule: str, microbatches: int, times: Times, hops: Sequence[float], chunks: int = 1
) -> Timeline:
    """Plays the schedule; `hops[s]` is the transfer between stages s and s + 1, in seconds.

    Of more passes than `MOST` it plays so many rounds of a microbatch a rank as it may, and adds for each of
    the others what one of the later half has taken in the mean: a full pipeline repeats itself.

    Raises:
        ValueError: as `order`.
    """
    if len(times.forward) == 1:
        backward = times.inputs[0] + times.weights[0] if schedule in SPLIT else times.backward[0]
        seconds = microbatches * (times.forward[0] + backward)
        return Timeline(seconds, (seconds,))
    most = MOST // len(times.forward)
    ranks = len(times.forward) // chunks
    fewer = most - (most - microbatches) % ranks
    if microbatches <= most or fewer <= 4 * ranks:
        _, clocks = _played(schedule, microbatches, times, hops, chunks)
        return Timeline(max(clocks), tuple(clocks))
    _, clocks = _played(schedule, fewer, times, hops, chunks)
    half = fewer // (2 * ranks) * ranks
    _, before = _played(schedule, fewer - half, times, hops, chunks)
    more = (microbatches - fewer) / half
    ends = tuple(end + more * (end - earlier) for end, earlier in zip(clocks, before, strict=True))
    return Timeline(max(ends), ends)


def events(
    schedule: str, microbatches: int, times: Times, hops: Sequence[float], chunks: int = 1
) -> list[Event]:
    """The same, pass by pass."""
    ends, _ = _played(schedule, microbatches, times, hops, chunks)
    stages, found = len(times.forward), []
    for rank, result, _, _, cost, _ in _steps(schedule, stages // chunks, chunks, microbatches):
        kind, stage = KINDS[cost // stages], cost % stages
        seconds = getattr(times, kind)[stage]
        found.append(
            Event(rank, Pass(kind, stage, result % microbatches), ends[result] - seconds, ends[result])
        )
    return found


def _played(
    schedule: str, microbatches: int, times: Times, hops: Sequence[float], chunks: int
) -> tuple[list[float], list[float]]:
    """When each pass ends, and each rank."""
    stages = len(times.forward)
    steps = _steps(schedule, stages // chunks, chunks, microbatches)
    costs = [cost for each in times for cost in each]
    gaps = [*hops, 0.0, 0.0]  # from the last forward pass to its backward, and into the first stage
    ends = [0.0] * (4 * stages * microbatches + 2)
    clocks = [0.0] * (stages // chunks)
    for rank, result, also, awaits, cost, hop in steps:
        begin = ends[awaits] + gaps[hop]
        if begin < clocks[rank]:
            begin = clocks[rank]
        ends[result] = ends[also] = clocks[rank] = begin + costs[cost]
    return ends, clocks
