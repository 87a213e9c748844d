"""Pipeline schedules: which rank does what, in which order.

A pass is one microbatch through one stage, forward or backward. Stage s is on rank s mod p, its chunk s // p.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple


class Pass(NamedTuple):
    backward: bool
    stage: int
    microbatch: int


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
    if schedule == "interleaved":
        return _interleaved(ranks, chunks, microbatches, rank)
    if schedule not in ("gpipe", "1f1b"):
        raise ValueError(f"no simulation of the schedule {schedule!r} yet")
    if chunks != 1:
        raise ValueError(f"{schedule} has one chunk a rank, not {chunks}")
    warm = microbatches if schedule == "gpipe" else min(microbatches, ranks - 1 - rank)
    forward = [Pass(False, rank, index) for index in range(microbatches)]
    backward = [Pass(True, rank, index) for index in range(microbatches)]
    return _alternating(forward, backward, warm)


def _interleaved(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """Rounds of microbatches pass through all chunks of a rank before the next round starts.

    Narayanan et al., arXiv:2104.04473, section 2.2; rounds of another size than `ranks` as in
    torch.distributed.pipelining.
    """
    rounds = max(1, microbatches // ranks)
    if microbatches % rounds:
        raise ValueError(f"{microbatches} microbatches are not {rounds} equal rounds")
    each = microbatches // rounds
    forward, backward = [], []
    for start in range(0, microbatches, each):
        for chunk in range(chunks):
            for index in range(start, start + each):
                forward.append(Pass(False, chunk * ranks + rank, index))
                backward.append(Pass(True, (chunks - 1 - chunk) * ranks + rank, index))
    warm = min(len(forward), (chunks - 1) * each + 2 * (ranks - 1 - rank))
    return _alternating(forward, backward, warm)


def _alternating(forward: list[Pass], backward: list[Pass], warm: int) -> list[Pass]:
    passes = forward[:warm]
    for ahead, back in zip(forward[warm:], backward, strict=False):
        passes += ahead, back
    return passes + backward[len(forward) - warm :]


@lru_cache(maxsize=4096)
def in_flight(
    schedule: str, ranks: int, chunks: int, microbatches: int, rank: int
) -> tuple[tuple[int, ...], ...]:
    """How many microbatches each chunk of a rank holds between their forward and backward passes.

    At every moment that may be the fullest: no other has as many or more in every chunk.

    Raises:
        ValueError: as `order`.
    """
    held = [0] * chunks
    moments: set[tuple[int, ...]] = set()
    for one in order(schedule, ranks, chunks, microbatches, rank):
        if one.backward:
            moments.add(tuple(held))
        held[one.stage // ranks] += -1 if one.backward else 1
    fullest: list[tuple[int, ...]] = []
    for moment in sorted(moments, key=sum, reverse=True):  # one that has more comes before what has less
        if not any(all(b >= a for a, b in zip(moment, other, strict=True)) for other in fullest):
            fullest.append(moment)
    return tuple(fullest)
