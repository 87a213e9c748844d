"""The passes of one pipeline rank in their order, for schedules that run backward passes whole.

A pass is one microbatch through one stage, forward or backward. Ranks, chunks and stages are numbered as in
`job/job.py`. The orders are those of torch.distributed.pipelining; tests compare them with its classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from parc.named_tuple import NamedTuple

PassKind: TypeAlias = Literal["forward", "backward", "inputs", "weights"]
"""`inputs` and `weights` are the halves of a backward pass: the gradients of a stage's inputs and weights."""


class Pass(NamedTuple):
    kind: PassKind
    stage: int
    microbatch: int
    deferred: bool = False  # whether its result is sent only after the next pass: both are one action


def order_one_stage(schedule: str, ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """`1f1b`, and `gpipe` with one chunk on a rank."""
    warm_up = microbatches if schedule == "gpipe" else min(microbatches, ranks - 1 - rank)
    forward = [Pass("forward", rank, index) for index in range(microbatches)]
    backward = [Pass("backward", rank, index) for index in range(microbatches)]
    return _alternate(forward, backward, warm_up)


def order_breadth_first(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """`gpipe` with several chunks: all microbatches through one, then all through the next, and back.

    Lamy-Poirier, arXiv:2211.05953.
    """
    stages = range(rank, ranks * chunks, ranks)
    forward = [Pass("forward", stage, index) for stage in stages for index in range(microbatches)]
    return forward + [each._replace(kind="backward") for each in reversed(forward)]


def order_interleaved(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """Interleaved 1F1B.

    Raises:
        ValueError: the microbatches do not fill equal rounds.
    """
    size, forward, backward = divide_rounds(ranks, chunks, microbatches, rank)
    warm_up = min(len(forward), (chunks - 1) * size + 2 * (ranks - 1 - rank))
    return _alternate(forward, backward, warm_up)


def divide_rounds(
    ranks: int, chunks: int, microbatches: int, rank: int
) -> tuple[int, list[Pass], list[Pass]]:
    """Microbatches of a round, and the forward and the backward passes of a rank, each in their order.

    A round passes through all chunks of a rank before the next round starts.

    Narayanan et al., arXiv:2104.04473, section 2.2; rounds of another size than `ranks` as in torch.

    Raises:
        ValueError: the microbatches do not fill equal rounds.
    """
    rounds = max(1, microbatches // ranks)
    if microbatches % rounds:
        raise ValueError(f"{microbatches} microbatches are not {rounds} equal rounds")
    size = microbatches // rounds
    forward, backward = [], []
    for start in range(0, microbatches, size):
        for chunk in range(chunks):
            for index in range(start, start + size):
                forward.append(Pass("forward", chunk * ranks + rank, index))
                backward.append(Pass("backward", (chunks - 1 - chunk) * ranks + rank, index))
    return size, forward, backward


def _alternate(forward: Sequence[Pass], backward: Sequence[Pass], warm_up: int) -> list[Pass]:
    """After `warm_up` forward passes, one forward and one backward pass in turn."""
    passes = [*forward[:warm_up]]
    for pair in zip(forward[warm_up:], backward, strict=False):
        passes += pair
    return [*passes, *backward[len(forward) - warm_up :]]
