"""How many microbatches a rank of a pipeline holds at once."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

from parc.cost.schedule.order import order


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
