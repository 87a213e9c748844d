"""Which network levels a transfer crosses: of the buffer of one rank, the bytes that it sends over each.

An all-to-all sends each peer its part, so the share of a level is that of the peers beyond it; a send goes
to one neighbour. A gather or reduction is counted level by level: with f members at a level, (f - 1) / f of
what the levels within have left of the buffer, twice for an all-reduce. A hierarchical library moves as
many; a flat ring sends no fewer over the outer links.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from parc.cost.figure import Grade
from parc.cost.job.job import Job
from parc.cost.job.parallelism import FanOut
from parc.cost.network.traffic import ACTIVATIONS, Transfer

PAIRWISE = ("all_to_all", "send")  # their links do not depend on the algorithm of a library


def count_bytes_by_level(job: Job, transfer: Transfer, stage: int) -> tuple[float, ...]:
    """Bytes that one rank of a stage sends for one call, by level, innermost first."""
    fan_out: FanOut = transfer.fan_out or getattr(job.parallelism.groups, transfer.group)
    if transfer.kind == "all_to_all":
        return tuple(transfer.bytes * share for share in list_peer_shares(fan_out))
    if transfer.kind == "send":
        link = job.find_link(stage if transfer.purpose == ACTIVATIONS else stage - 1)
        level = find_crossed_level(fan_out, link)
        return tuple(transfer.bytes if number == level else 0.0 for number in range(len(fan_out)))
    passes, left, bytes = 2 if transfer.kind == "all_reduce" else 1, transfer.bytes, []
    for fan in fan_out:
        bytes.append(passes * (fan - 1) / fan * left)
        left /= fan
    return tuple(bytes)


def count_sent_bytes(job: Job, transfer: Transfer) -> float:
    """Bytes that one rank sends for one call, over all levels together."""
    if transfer.kind == "send":
        return transfer.bytes
    return sum(count_bytes_by_level(job, transfer, 0))


def grade_sent_bytes(transfer: Transfer) -> Grade:
    """The grade of what `count_sent_bytes` gives."""
    return "expected" if transfer.routed else "exact" if transfer.kind in PAIRWISE else "estimated"


def list_peer_shares(fan_out: FanOut) -> Iterator[float]:
    """For each level, the share of a group's members whose path from one of them ends there."""
    within, size = 1.0, prod(fan_out)
    for fan in fan_out:
        yield (within * fan - within) / size
        within *= fan


def find_crossed_level(fan_out: FanOut, index: int) -> int:
    """The level of the link from member `index` to the next; of the last one, of that back to the first."""
    reach = 1.0
    for level, fan in enumerate(fan_out):
        reach *= fan
        if (index + 1) % reach:
            return level
    return max(level for level, fan in enumerate(fan_out) if fan > 1)
