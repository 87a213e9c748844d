"""Which links what goes into a collective crosses: of a rank's buffers, the bytes that it sends.

An all-to-all sends each peer its part, so the share of a level is that of the peers beyond it; a send goes to
one neighbour. A gather or reduction is counted level by level: with f members at a level, (f - 1) / f of what
the levels within have left of the buffer, twice for an all-reduce. That is what a hierarchical library moves;
a flat ring gives the outer links no less.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from parc.cost.figure import Grade
from parc.cost.job.job import Job
from parc.cost.job.parallelism import Fans
from parc.cost.network.traffic import Moved

PAIRS = ("all_to_all", "send")  # whose links no library chooses


def levels(job: Job, one: Moved, place: int) -> tuple[float, ...]:
    """Bytes that one rank of a stage sends for one call, by level, innermost first."""
    fans: Fans = getattr(job.layout.reach, one.over)
    if one.kind == "all_to_all":
        return tuple(one.bytes * share for share in beyond(fans))
    if one.kind == "send":
        level = crossed(fans, job.link(place if one.what == "activations" else place - 1))
        return tuple(one.bytes if number == level else 0.0 for number in range(len(fans)))
    passes, left, bytes = 2 if one.kind == "all_reduce" else 1, one.bytes, []
    for fan in fans:
        bytes.append(passes * (fan - 1) / fan * left)
        left /= fan
    return tuple(bytes)


def sent(job: Job, one: Moved) -> float:
    """Bytes over all levels together."""
    return one.bytes if one.kind == "send" else sum(levels(job, one, 0))


def grade(one: Moved) -> Grade:
    """Of what is sent."""
    return "expected" if one.routed else "exact" if one.kind in PAIRS else "estimated"


def beyond(fans: Fans) -> Iterator[float]:
    """The share of a group's members whose path from one of them ends at each level."""
    within, size = 1.0, prod(fans)
    for fan in fans:
        yield (within * fan - within) / size
        within *= fan


def crossed(fans: Fans, index: int) -> int:
    """The level of the link from member `index` to the next; of the last one, that back to the first."""
    reach = 1.0
    for level, fan in enumerate(fans):
        reach *= fan
        if (index + 1) % reach:
            return level
    return max(level for level, fan in enumerate(fans) if fan > 1)
