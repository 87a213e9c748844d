"""How many microbatches a pipeline rank has in flight."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate

from parc.named_tuple import NamedTuple
from parc.schedule.order import order_passes


def find_steady_microbatches(schedule: str, ranks: int, microbatches: int) -> int:
    """The least number of microbatches that fill a pipeline as these do.

    After three microbatches for each rank, all others find the pipeline as the ones before them did.
    """
    rounds = microbatches // ranks
    unequal = schedule in ("interleaved", "zero_bubble") and rounds and microbatches % rounds
    return microbatches if rounds < 4 or unequal else 3 * ranks + microbatches % ranks


class InFlight(NamedTuple):
    """Microbatches that one rank holds at one moment, for each of its chunks."""

    outstanding: tuple[int, ...]  # they have passed forward, and not all of their gradients are there
    awaiting_weights: tuple[int, ...]  # of these, the ones that lack the gradients of weights alone


@lru_cache(maxsize=4096)
def find_fullest_moments(
    schedule: str, ranks: int, chunks: int, microbatches: int, rank: int
) -> tuple[InFlight, ...]:
    """Every moment that may be the fullest of a rank: no other has as many or more of each.

    Raises:
        ValueError: as `order_passes`.
    """
    if schedule == "gpipe":
        return (InFlight((microbatches,) * chunks, (0,) * chunks),)
    microbatches = find_steady_microbatches(schedule, ranks, microbatches)
    counts = [0] * (2 * chunks)
    moments: set[tuple[int, ...]] = set()
    for kind, stage, *_ in order_passes(schedule, ranks, chunks, microbatches, rank):
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
    return tuple(InFlight(moment[:chunks], moment[chunks:]) for moment in fullest)


@lru_cache(maxsize=1024)
def count_peak_at_head(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> int:
    """The most microbatches that have passed forward through a rank's last chunk and not begun to go back.

    Raises:
        ValueError: as `order_passes`.
    """
    if schedule == "gpipe":
        return microbatches
    steady = find_steady_microbatches(schedule, ranks, microbatches)
    passes = order_passes(schedule, ranks, chunks, steady, rank)
    last = max(each.stage for each in passes)
    steps = {"forward": 1, "backward": -1, "inputs": -1, "weights": 0}
    return max(accumulate(steps[each.kind] for each in passes if each.stage == last))
