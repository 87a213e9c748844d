"""The passes of one rank of a pipeline, in the order in which it makes them; backward passes are whole.

A pass is one microbatch through one stage, forward or backward. Ranks, chunks and stages are numbered as in
`job.py`. Orders are those of torch.distributed.pipelining; tests hold them against its classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

Kind: TypeAlias = Literal["forward", "backward", "inputs", "weights"]
"""`inputs` and `weights` are the halves of a backward pass: gradients of what came in, and of parameters."""


class Pass(NamedTuple):
    """`held`: its result is sent after the pass that follows, which it is one action with."""

    kind: Kind
    stage: int
    microbatch: int
    held: bool = False


def one_stage(schedule: str, ranks: int, microbatches: int, rank: int) -> list[Pass]:
    """`1f1b`, and `gpipe` with one chunk a rank."""
    warm = microbatches if schedule == "gpipe" else min(microbatches, ranks - 1 - rank)
    forward = [Pass("forward", rank, index) for index in range(microbatches)]
    backward = [Pass("backward", rank, index) for index in range(microbatches)]
    return _alternating(forward, backward, warm)


def breadth_first(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """`gpipe` with several chunks: all microbatches through one, then all through the next, and back.

    Lamy-Poirier, arXiv:2211.05953.
    """
    stages = range(rank, ranks * chunks, ranks)
    forward = [Pass("forward", stage, index) for stage in stages for index in range(microbatches)]
    return forward + [one._replace(kind="backward") for one in reversed(forward)]


def interleaved(ranks: int, chunks: int, microbatches: int, rank: int) -> list[Pass]:
    """Raises:
    ValueError: the microbatches do not fill equal rounds.
    """
    each, forward, backward = rounds(ranks, chunks, microbatches, rank)
    return _alternating(forward, backward, min(len(forward), (chunks - 1) * each + 2 * (ranks - 1 - rank)))


def rounds(ranks: int, chunks: int, microbatches: int, rank: int) -> tuple[int, list[Pass], list[Pass]]:
    """Microbatches of a round, and the forward and the backward passes of a rank, each in their order.

    A round passes through all chunks of a rank before the next one starts.

    Narayanan et al., arXiv:2104.04473, section 2.2; rounds of another size than `ranks` as in torch.

    Raises:
        ValueError: the microbatches do not fill equal rounds.
    """
    number = max(1, microbatches // ranks)
    if microbatches % number:
        raise ValueError(f"{microbatches} microbatches are not {number} equal rounds")
    each = microbatches // number
    forward, backward = [], []
    for start in range(0, microbatches, each):
        for chunk in range(chunks):
            for index in range(start, start + each):
                forward.append(Pass("forward", chunk * ranks + rank, index))
                backward.append(Pass("backward", (chunks - 1 - chunk) * ranks + rank, index))
    return each, forward, backward


def _alternating(forward: Sequence[Pass], backward: Sequence[Pass], warm: int) -> list[Pass]:
    passes = [*forward[:warm]]
    for ahead, back in zip(forward[warm:], backward, strict=False):
        passes += ahead, back
    return [*passes, *backward[len(forward) - warm :]]
