"""The time of collectives over a network of levels, from latency and bandwidth.

Bytes are those of the whole buffer: what every rank ends with in an all-gather, what it starts with in a
reduce-scatter or an all-to-all. A group is given by its fan-out (`job/parallelism.py`). Each device has its
own share of every link, so g members of a group within a node have g shares of the link out of the node.
Formulae: Thakur, Rabenseifner and Gropp, "Optimization of Collective Communication Operations in MPICH",
2005, applied level by level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import log2, prod
from typing import TypeAlias

from parc.cost.job.hardware import LinkSpeed
from parc.cost.job.parallelism import FanOut

Links: TypeAlias = tuple[LinkSpeed, ...]


def predict_all_reduce(bytes: float, fan_out: FanOut, links: Links) -> float:
    """Seconds of the best of one ring, a double tree, and one algorithm after the other by level."""
    size = prod(fan_out)
    if size <= 1 or bytes <= 0:
        return 0.0
    bandwidth, latency = _find_bottleneck(fan_out, links)
    ring = 2 * (size - 1) * latency + 2 * (size - 1) / size * bytes / bandwidth
    # Up and down a tree; of two trees, each with half of the bytes, every rank is a leaf in one.
    hops = sum(log2(fan) * link.latency for fan, link in zip(fan_out, links, strict=False) if fan > 1)
    tree = 2 * hops + 2 * bytes / bandwidth
    return min(ring, tree, _predict_by_level(2, bytes, fan_out, links))


def predict_all_gather(bytes: float, fan_out: FanOut, links: Links) -> float:
    """Seconds of one pass of the ring that an all-reduce makes twice; a reduce-scatter takes as long."""
    size = prod(fan_out)
    if size <= 1 or bytes <= 0:
        return 0.0
    bandwidth, latency = _find_bottleneck(fan_out, links)
    ring = (size - 1) * latency + (size - 1) / size * bytes / bandwidth
    return min(ring, _predict_by_level(1, bytes, fan_out, links))


def predict_all_to_all(bytes: float, fan_out: FanOut, links: Links) -> float:
    """Seconds of sends between all pairs at all levels at once, so that the slowest level decides."""
    size = prod(fan_out)
    if size <= 1 or bytes <= 0:
        return 0.0
    slowest, within, hops = 0.0, 1.0, 0.0
    for fan, link in zip(fan_out, links, strict=False):
        leaving = (within * fan - within) / size  # the share of peers whose path ends at this level
        slowest = max(slowest, bytes * leaving / link.bandwidth)
        hops += leaving * size * link.latency
        within *= fan
    return slowest + hops


PREDICTORS: dict[str, Callable[[float, FanOut, Links], float]] = {
    "all_reduce": predict_all_reduce,
    "all_gather": predict_all_gather,
    "reduce_scatter": predict_all_gather,
    "all_to_all": predict_all_to_all,
}
"""By kind of collective: from bytes, fan-out and links to seconds."""


def predict_send(bytes: float, link: LinkSpeed) -> float:
    """Seconds from one device to another."""
    return link.latency + bytes / link.bandwidth


def find_neighbour_link(fan_out: FanOut, links: Links, index: int) -> LinkSpeed:
    """The link from the group's member `index` to the next one; the last member's is to the first."""
    reach = 1.0
    for fan, link in zip(fan_out, links, strict=False):
        reach *= fan
        if (index + 1) % reach:
            return link
    crossed = zip(fan_out, links, strict=False)
    return max(crossed, key=lambda level: level[0] > 1 and 1 / level[1].bandwidth)[1]


@lru_cache(maxsize=4096)
def _find_bottleneck(fan_out: FanOut, links: Links) -> tuple[float, float]:
    """Bandwidth and latency of a ring through all members: those of its worst link."""
    within, bandwidth, latency = 1.0, float("inf"), 0.0
    for fan, link in zip(fan_out, links, strict=False):
        if fan > 1:
            bandwidth = min(bandwidth, link.bandwidth * within)
            latency = max(latency, link.latency)
        within *= fan
    return bandwidth, latency


def _predict_by_level(passes: int, bytes: float, fan_out: FanOut, links: Sequence[LinkSpeed]) -> float:
    """Each level's ring carries what the levels within have left: 1/g of the bytes after g members."""
    seconds = 0.0
    for fan, link in zip(fan_out, links, strict=False):
        if fan > 1:
            seconds += passes * ((fan - 1) * link.latency + (fan - 1) / fan * bytes / link.bandwidth)
        bytes /= fan
    return seconds
