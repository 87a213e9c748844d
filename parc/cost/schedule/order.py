"""Pipeline schedules: which rank does what, in which order, and what it holds meanwhile."""

from __future__ import annotations

from parc.cost.schedule import whole_backward as orders
from parc.cost.schedule.whole_backward import Pass

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
    from parc.cost.schedule import split_backward as split  # few plans need it

    if schedule == "zero_bubble":
        return split.zero_bubble(ranks, chunks, microbatches, rank)
    return (split.zbv if schedule == "zbv" else split.dualpipev)(ranks, microbatches, rank)


def _chunks(number: int) -> str:
    return "one chunk" if number == 1 else f"{number} chunks"
