"""The collectives of matmuls and tables that are split over `tensor`, for one microbatch."""

from __future__ import annotations

from parc.cost.job.job import Job, cache_per_job
from parc.cost.work.part import NO_COLLECTIVES, CollectiveKind, LayerCollective, PassCollectives

LOSS_BYTES = 4  # of a token's loss and its terms, where activations have fewer


@cache_per_job
def derive_column_parallel(job: Job) -> PassCollectives:
    """Before a matmul that is split by columns: its input is gathered, or its gradient is summed."""
    if job.degrees.tensor == 1:
        return NO_COLLECTIVES
    if not job.parallelism.sequence_parallel:
        return PassCollectives((), _collect_tokens(job, "all_reduce"))
    gather = _collect_tokens(job, "all_gather")
    again = gather if job.software.regather_inputs else ()
    return PassCollectives(gather, again + _collect_tokens(job, "reduce_scatter"))


@cache_per_job
def derive_row_parallel(job: Job) -> PassCollectives:
    """After a matmul that is split by rows, or a lookup in an embedding that is: a sum of terms."""
    if job.degrees.tensor == 1:
        return NO_COLLECTIVES
    if not job.parallelism.sequence_parallel:
        return PassCollectives(_collect_tokens(job, "all_reduce"), ())
    return PassCollectives(_collect_tokens(job, "reduce_scatter"), _collect_tokens(job, "all_gather"))


def derive_vocab_parallel_loss(job: Job) -> PassCollectives:
    """Of logits that are split: for each token the largest one, the sum of exponentials, and the label's."""
    if job.degrees.tensor == 1:
        return NO_COLLECTIVES
    element = max(job.software.element_bytes, LOSS_BYTES)
    bytes = [element, 2 * element] if job.software.emitted else 3 * [LOSS_BYTES]
    sums = [
        LayerCollective("all_reduce", job.tokens * each, "tensor", payload="terms of the loss")
        for each in bytes
    ]
    return PassCollectives(tuple(sums), ())


def _collect_tokens(job: Job, kind: CollectiveKind) -> tuple[LayerCollective, ...]:
    """One collective over `tensor` of all tokens of a microbatch."""
    bytes = job.tokens * job.architecture.hidden * job.software.element_bytes
    return (LayerCollective(kind, bytes, "tensor"),)
