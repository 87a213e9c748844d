"""The order of passes on a rank, by the name of the schedule."""

from __future__ import annotations

from parc.schedule.whole_backward import Pass, order_breadth_first, order_interleaved, order_one_stage

MAX_PASSES = 1 << 17
"""Microbatches x stages: a second of work."""


def order_passes(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """The passes of one rank, in the order in which it runs them.

    Raises:
        ValueError: the schedule is unknown, does not admit as many chunks, or the microbatches do not fill
        its
            rounds; or there are more than `MAX_PASSES` passes.
    """
    passes = ranks * chunks * microbatches
    if passes > MAX_PASSES:
        raise ValueError(f"{passes:,} passes through a pipeline are more than {MAX_PASSES:,}")
    fixed = {"1f1b": 1, "zbv": 2, "dualpipev": 2}.get(schedule, chunks)
    if chunks != fixed:
        number = "one chunk" if fixed == 1 else f"{fixed} chunks"
        raise ValueError(f"{schedule} has {number} a rank, not {chunks}")
    match schedule:
        case "gpipe" if chunks > 1:
            return order_breadth_first(ranks, chunks, microbatches, rank)
        case "gpipe" | "1f1b":
            return order_one_stage(schedule, ranks, microbatches, rank)
        case "interleaved":
            return order_interleaved(ranks, chunks, microbatches, rank)
        case "zero_bubble" | "zbv" | "dualpipev":
            return _order_split(schedule, ranks, chunks, microbatches, rank)
    raise ValueError(f"the schedule {schedule!r} is unknown")


def _order_split(schedule: str, ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    from parc.schedule import split_backward  # noqa: PLC0415 - start-up time: few plans need it

    if schedule == "zero_bubble":
        return split_backward.order_zero_bubble(ranks, chunks, microbatches, rank)
    order = split_backward.order_zbv if schedule == "zbv" else split_backward.order_dualpipev
    return order(ranks, microbatches, rank)
