"""Pipeline schedules: which rank does what, in which order, and what it holds meanwhile."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from parc.cost import orders
from parc.cost.orders import Pass

MOST = 1 << 17
"""Microbatches x stages: a second of work."""


def order(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """The passes of one rank, in the order in which it makes them.

    Raises:
        ValueError: the schedule is not known, has no such chunks, or the microbatches do not fill its rounds;
            or there are more than `MOST` passes.
    """
    passes = ranks * chunks * microbatches
    if passes > MOST:
        raise ValueError(f"{passes:,} passes through a pipeline are more than {MOST:,}")
    fixed = {"1f1b": 1, "zbv": 2, "dualpipev": 2}.get(schedule, chunks)
    if chunks != fixed:
        raise ValueError(f"{schedule} has {_chunks(fixed)} a rank, not {chunks}")
    match schedule:
        case "gpipe" if chunks > 1:
            return orders.breadth_first(ranks, chunks, microbatches, rank)
        case "gpipe" | "1f1b":
            return orders.one_stage(schedule, ranks, microbatches, rank)
        case "interleaved":
            return orders.interleaved(ranks, chunks, microbatches, rank)
        case "zero_bubble" | "zbv" | "dualpipev":
            return _split(schedule, ranks, chunks, microbatches, rank)
    raise ValueError(f"the schedule {schedule!r} is not known")


def _split(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    from parc.cost import split  # few plans need it

    if schedule == "zero_bubble":
        return split.zero_bubble(ranks, chunks, microbatches, rank)
    return (split.zbv if schedule == "zbv" else split.dualpipev)(ranks, microbatches, rank)


def _chunks(number: int) -> str:
    return "one chunk" if number == 1 else f"{number} chunks"


def steady(schedule: str, ranks: int, microbatches: int) -> int:
    """So many microbatches fill a pipeline as these do: after three of them a rank, all that follow find it
    as those before."""
    rounds = microbatches // ranks
    unequal = schedule in ("interleaved", "zero_bubble") and rounds and microbatches % rounds
    return microbatches if rounds < 4 or unequal else 3 * ranks + microbatches % ranks


class Moment(NamedTuple):
    """What a rank holds: of each of its chunks, how many microbatches have passed forward and have not given
    all their gradients, and of how many of these only parameters still lack theirs."""

    kept: tuple[int, ...]
    halved: tuple[int, ...]


@lru_cache(maxsize=4096)
def in_flight(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> tuple[Moment, ...]:
    """Every moment that may be the fullest of a rank: no other has as many or more of each.

    Raises:
        ValueError: as `order`.
    """
    if schedule == "gpipe":
        return (Moment((microbatches,) * chunks, (0,) * chunks),)
    microbatches = steady(schedule, ranks, microbatches)
    counts = [0] * (2 * chunks)
    moments: set[tuple[int, ...]] = set()
    for kind, stage, *_ in order(schedule, ranks, chunks, microbatches, rank):
        chunk = stage // ranks
        if kind == "forward":
            counts[chunk] += 1
        elif kind == "inputs":
            counts[chunks + chunk] += 1
        else:
            moments.add(tuple(counts))
            counts[chunk] -= 1
            counts[chunks + chunk] -= kind == "weights"
    fullest: list[tuple[int, ...]] = []
    for moment in sorted(moments, key=sum, reverse=True):  # one that has more comes before what has less
        if not any(all(b >= a for a, b in zip(moment, other, strict=True)) for other in fullest):
            fullest.append(moment)
    return tuple(Moment(moment[:chunks], moment[chunks:]) for moment in fullest)


@lru_cache(maxsize=1024)
def at_the_head(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> int:
    """The most microbatches that have come to the end of a rank's last chunk and have not begun to go back.

    Raises:
        ValueError: as `order`.
    """
    if schedule == "gpipe":
        return microbatches
    passes = order(schedule, ranks, chunks, steady(schedule, ranks, microbatches), rank)
    last = max(one.stage for one in passes)
    steps = {"forward": 1, "backward": -1, "inputs": -1, "weights": 0}
    return max(accumulate(steps[one.kind] for one in passes if one.stage == last))
