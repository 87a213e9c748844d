"""Pipelines, event by event: when each pass begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from parc.cost.schedule import Pass, order
from parc.record import dataclass


class Event(NamedTuple):
    rank: int
    what: Pass
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """`seconds` from the first pass to the last; `ends[r]` is when rank r has nothing left to do."""

    seconds: float
    ends: tuple[float, ...]


class _Step(NamedTuple):
    """A pass by numbers: its rank, its result and the one it waits for, the cost and the hop it takes."""

    rank: int
    result: int
    awaits: int
    cost: int
    hop: int


@lru_cache(maxsize=1024)
def _steps(schedule: str, ranks: int, chunks: int, microbatches: int) -> tuple[_Step, ...]:
    """All passes in an order in which each comes after what it waits for: no time depends on it."""
    stages = ranks * chunks
    queues = [iter(order(schedule, ranks, chunks, microbatches, rank)) for rank in range(ranks)]
    steps: list[_Step] = []
    done = [False] * (2 * stages * microbatches + 1)
    done[-1] = True  # the result that the first stage waits for: its input
    waiting: dict[int, tuple[int, _Step]] = {}
    ready = list(range(ranks))
    while ready:
        rank = ready.pop()
        for one in queues[rank]:
            step = _numbered(one, rank, stages, microbatches)
            if not done[step.awaits]:
                waiting[step.awaits] = (rank, step)
                break
            _take(step, steps, done, waiting, ready)
    if len(steps) != 2 * stages * microbatches:
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
        done[step.result] = True
        if step.result in waiting:
            rank, released = waiting.pop(step.result)
            pending.append(released)
            ready.append(rank)


def _numbered(one: Pass, rank: int, stages: int, microbatches: int) -> _Step:
    def result(stage: int) -> int:
        return stage * microbatches + one.microbatch

    half = stages * microbatches
    if not one.backward:
        return _Step(
            rank, result(one.stage), result(one.stage - 1) if one.stage else -1, one.stage, one.stage - 1
        )
    after = half + result(one.stage + 1) if one.stage + 1 < stages else result(one.stage)
    return _Step(rank, half + result(one.stage), after, stages + one.stage, one.stage)


def simulate(
    schedule: str,
    microbatches: int,
    forward: Sequence[float],
    backward: Sequence[float],
    hops: Sequence[float],
    chunks: int = 1,
) -> Timeline:
    """Plays the schedule. Times are seconds, by stage; `hops[s]` is the transfer between stages s and s + 1.

    Raises:
        ValueError: as `order`.
    """
    if len(forward) == 1:
        seconds = microbatches * (forward[0] + backward[0])
        return Timeline(seconds, (seconds,))
    _, clocks = _played(schedule, microbatches, forward, backward, hops, chunks)
    return Timeline(max(clocks), tuple(clocks))


def events(
    schedule: str,
    microbatches: int,
    forward: Sequence[float],
    backward: Sequence[float],
    hops: Sequence[float],
    chunks: int = 1,
) -> list[Event]:
    """The same, pass by pass."""
    ends, _ = _played(schedule, microbatches, forward, backward, hops, chunks)
    stages, found = len(forward), []
    for rank, result, _, cost, _ in _steps(schedule, stages // chunks, chunks, microbatches):
        seconds = (backward if cost >= stages else forward)[cost % stages]
        what = Pass(cost >= stages, cost % stages, result % microbatches)
        found.append(Event(rank, what, ends[result] - seconds, ends[result]))
    return found


def _played(
    schedule: str,
    microbatches: int,
    forward: Sequence[float],
    backward: Sequence[float],
    hops: Sequence[float],
    chunks: int,
) -> tuple[list[float], list[float]]:
    """When each pass ends, and each rank."""
    stages = len(forward)
    steps = _steps(schedule, stages // chunks, chunks, microbatches)
    costs = [*forward, *backward]
    gaps = [*hops, 0.0, 0.0]  # from the last forward pass to its backward, and into the first stage
    ends = [0.0] * (2 * stages * microbatches + 1)
    clocks = [0.0] * (stages // chunks)
    for rank, result, awaits, cost, hop in steps:
        begin = ends[awaits] + gaps[hop]
        if begin < clocks[rank]:
            begin = clocks[rank]
        ends[result] = clocks[rank] = begin + costs[cost]
    return ends, clocks
