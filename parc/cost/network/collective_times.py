"""Collectives over a network of levels, by latency and bandwidth.

Bytes are those of the whole buffer: what every rank ends up with in an all-gather, what it starts with in a
reduce-scatter or an all-to-all. Groups are the fans of `job.py`. Each device has its own share of every link,
so g members of a group within a node have g shares of the link out of it. Formulae: Thakur, Rabenseifner and
Gropp, "Optimization of Collective Communication Operations in MPICH", 2005, level by level.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import log2, prod

from parc.cost.job.machine import Link
from parc.cost.job.parallelism import Fans

Links = tuple[Link, ...]


def all_reduce(bytes: float, fans: Fans, links: Links) -> float:
    """Seconds: the best of one ring, a double tree, and level by level."""
    size = prod(fans)
    if size <= 1 or bytes <= 0:
        return 0.0
    bandwidth, latency = _narrowest(fans, links)
    ring = 2 * (size - 1) * latency + 2 * (size - 1) / size * bytes / bandwidth
    # Up and down a tree; of two trees, each with half of the bytes, every rank is a leaf in one.
    hops = sum(log2(fan) * link.latency for fan, link in zip(fans, links, strict=False) if fan > 1)
    tree = 2 * hops + 2 * bytes / bandwidth
    return min(ring, tree, _by_level(2, bytes, fans, links))


def all_gather(bytes: float, fans: Fans, links: Links) -> float:
    """Seconds, also of a reduce-scatter: one pass of the ring that an all-reduce makes twice."""
    size = prod(fans)
    if size <= 1 or bytes <= 0:
        return 0.0
    bandwidth, latency = _narrowest(fans, links)
    ring = (size - 1) * latency + (size - 1) / size * bytes / bandwidth
    return min(ring, _by_level(1, bytes, fans, links))


reduce_scatter = all_gather


def all_to_all(bytes: float, fans: Fans, links: Links) -> float:
    """Seconds: pairs at all levels at once, so the slowest level decides."""
    size = prod(fans)
    if size <= 1 or bytes <= 0:
        return 0.0
    slowest, within, hops = 0.0, 1.0, 0.0
    for fan, link in zip(fans, links, strict=False):
        leaving = (within * fan - within) / size  # the share of peers whose path ends at this level
        slowest = max(slowest, bytes * leaving / link.bandwidth)
        hops += leaving * size * link.latency
        within *= fan
    return slowest + hops


def send(bytes: float, link: Link) -> float:
    """Seconds from one device to another."""
    return link.latency + bytes / link.bandwidth


def neighbour(fans: Fans, links: Links, index: int) -> Link:
    """The link from the group's member `index` to the next one; the last one's is to the first."""
    reach = 1.0
    for fan, link in zip(fans, links, strict=False):
        reach *= fan
        if (index + 1) % reach:
            return link
    return max(zip(fans, links, strict=False), key=lambda level: level[0] > 1 and 1 / level[1].bandwidth)[1]


@lru_cache(maxsize=4096)
def _narrowest(fans: Fans, links: Links) -> tuple[float, float]:
    """Bandwidth and latency of a ring through all members: that of its worst crossing."""
    within, bandwidth, latency = 1.0, float("inf"), 0.0
    for fan, link in zip(fans, links, strict=False):
        if fan > 1:
            bandwidth = min(bandwidth, link.bandwidth * within)
            latency = max(latency, link.latency)
        within *= fan
    return bandwidth, latency


def _by_level(passes: int, bytes: float, fans: Fans, links: Sequence[Link]) -> float:
    """Each level's ring carries what the levels within have left: 1/g of the bytes after g members."""
    seconds = 0.0
    for fan, link in zip(fans, links, strict=False):
        if fan > 1:
            seconds += passes * ((fan - 1) * link.latency + (fan - 1) / fan * bytes / link.bandwidth)
        bytes /= fan
    return seconds
