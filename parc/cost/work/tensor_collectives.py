"""The collectives of one microbatch, by what they are for: matmuls that are split, words, experts.

parc's programs (`Practice.emitted`) and Megatron's differ around experts alone. Where experts are split over
`tensor` and tokens lie along the sequence, parc gathers tokens over `tensor` before they travel and Megatron
gathers rows after; parc sums what experts and a shared expert give together, Megatron each for itself.
"""

from __future__ import annotations

from parc.cost.job.job import Job, once
from parc.cost.work.part import NOTHING, Kind, Move, Moves

LOSS = 4  # bytes of a token's loss, where Megatron sums its parts


@once
def into(job: Job) -> Moves:
    """Before a matmul that is split by columns: its input is gathered, or its gradient is a sum."""
    whole = _whole(job)
    if job.degrees.tensor == 1:
        return NOTHING
    if not job.layout.sequence:
        return Moves((), _over("all_reduce", whole))
    again = _over("all_gather", whole) if job.practice.regather else ()
    return Moves(_over("all_gather", whole), again + _over("reduce_scatter", whole))


@once
def out_of(job: Job) -> Moves:
    """After a matmul that is split by rows, or words looked up in a table that is: a sum of terms."""
    whole = _whole(job)
    if job.degrees.tensor == 1:
        return NOTHING
    if not job.layout.sequence:
        return Moves(_over("all_reduce", whole), ())
    return Moves(_over("reduce_scatter", whole), _over("all_gather", whole))


def loss(job: Job) -> Moves:
    """Of words that are split: each token's largest logit, the sum of all exponents, and its own."""
    if job.degrees.tensor == 1:
        return NOTHING
    emitted, element = job.practice.emitted, job.practice.element
    bytes = [element, 2 * element] if emitted else 3 * [LOSS]
    sums = (Move("all_reduce", job.tokens * each, "tensor", what="parts of the loss") for each in bytes)
    return Moves(tuple(sums), ())


def _over(kind: Kind, bytes: float) -> tuple[Move, ...]:
    return (Move(kind, bytes, "tensor"),)


def _whole(job: Job) -> float:
    """Bytes of all tokens of one microbatch."""
    return job.tokens * job.architecture.hidden * job.practice.element
