"""The collectives of a layer of experts, for one microbatch.

Programs that parc emits (`Software.emitted`) and Megatron's differ here alone. Where experts are split over
`tensor` and the sequence is too, parc gathers tokens over `tensor` before they are dispatched, and Megatron
gathers rows afterwards. parc adds the results of the experts and of a shared expert before their sum over
`tensor`, Megatron sums each by itself.
"""

from __future__ import annotations

from math import comb

from parc.cost.job.job import Job
from parc.cost.job.parallelism import GroupName
from parc.cost.work.part import (
    NO_COLLECTIVES,
    CollectiveKind,
    LayerCollective,
    PassCollectives,
    count_local_tokens,
)
from parc.cost.work.tensor_collectives import derive_column_parallel, derive_row_parallel

ROUTING_WEIGHTS = "routing weights"
ROW_COUNTS, PAIR_COUNTS = "row counts", "pair counts"
ROUTING = (ROW_COUNTS, PAIR_COUNTS)  # what a second forward pass knows
INDEX_BYTES = 8  # of an expert's number, and of a count of rows
GATHER_SCATTER: tuple[CollectiveKind, CollectiveKind] = ("all_gather", "reduce_scatter")


def derive_expert_collectives(job: Job) -> PassCollectives:
    """All collectives of a layer of experts, those of a shared expert included."""
    return _derive_emitted(job) if job.software.emitted else _derive_megatron(job)


def count_dispatched_tokens(job: Job) -> float:
    """Tokens of one microbatch that one rank sends to their experts."""
    return job.tokens if job.parallelism.terms_over_tensor else count_local_tokens(job)


def count_received_rows(job: Job) -> float:
    """Rows that the experts of a rank get if routing is even, which is the mean of any routing."""
    model, degrees = job.architecture, job.degrees
    rows = count_dispatched_tokens(job) * model.top_k
    if job.software.emitted:
        return rows * degrees.dispatch / degrees.experts
    if not job.parallelism.dispatch_tokens:
        return rows / degrees.experts
    return rows * degrees.expert_tensor if job.parallelism.sequence_parallel else rows


def count_ranks_per_token(experts: int, ranks: int, choices: int) -> float:
    """On how many of `ranks` the chosen experts of one token are, in the mean over all choices."""
    absent = comb(experts - experts // ranks, choices) / comb(experts, choices)
    return ranks * (1 - absent)


def _derive_megatron(job: Job) -> PassCollectives:
    model, degrees, layout = job.architecture, job.degrees, job.parallelism
    token = model.hidden * job.software.element_bytes
    collectives = _derive_all_to_alls(job)
    if degrees.experts > 1 and not layout.dispatch_tokens:
        collectives += _sum_both_ways(job.tokens * token, "experts")
    if degrees.expert_tensor > 1 and layout.sequence_parallel:
        rows = count_received_rows(job) * token * job.expert_load
        around = tuple(LayerCollective(kind, rows, "expert_tensor", True) for kind in GATHER_SCATTER)
        collectives += PassCollectives(around, around)
    elif degrees.expert_tensor > 1:
        collectives += _sum_both_ways(job.tokens * token, "expert_tensor")
    if model.shared_ffn:
        collectives += derive_column_parallel(job) + derive_row_parallel(job)
    return collectives


def _derive_emitted(job: Job) -> PassCollectives:
    """As `parc.shard` places them; `tests/cost/test_exact.py` compares this with compiled programs."""
    model, degrees, layout = job.architecture, job.degrees, job.parallelism
    collectives = NO_COLLECTIVES if job.capacity is None else _derive_counts_of_pairs(job)
    if layout.terms_over_tensor:
        collectives += derive_column_parallel(job) + _derive_routing_weights(job, "tensor")
    if degrees.dispatch > 1:
        held = model.experts * degrees.dispatch / degrees.experts  # by the ranks that rows travel between
        counts = LayerCollective("all_to_all", held * INDEX_BYTES, "dispatch", payload=ROW_COUNTS)
        rows = count_received_rows(job) * model.hidden * job.software.element_bytes * job.expert_load
        there_and_back = 2 * (LayerCollective("all_to_all", rows, "dispatch", True),)
        collectives += PassCollectives((counts, *there_and_back), there_and_back)
    if degrees.expert_terms > 1:
        token = model.hidden * job.software.element_bytes
        # Terms over both groups are first summed over `tensor`, unless the shared expert adds its own.
        results = count_dispatched_tokens(job) if model.shared_ffn else count_local_tokens(job)
        forward = LayerCollective("all_reduce", results * token, "expert_terms")
        backward = LayerCollective("all_reduce", _count_replicated_tokens(job) * token, "expert_terms")
        collectives += PassCollectives((forward,), (backward,)) + _derive_routing_weights(job, "expert_terms")
    if model.shared_ffn:
        collectives += derive_column_parallel(job)
    if layout.terms_over_tensor or model.shared_ffn:
        collectives += derive_row_parallel(job)
    return collectives


def _derive_counts_of_pairs(job: Job) -> PassCollectives:
    """How many pairs chose each expert: what decides which are within the capacity.

    Along a sequence that is split each sequence is counted by itself; what is sent to other ranks of data are
    their sums.
    """
    degrees, layout = job.degrees, job.parallelism
    counts, gathers = job.architecture.experts * INDEX_BYTES, list[LayerCollective]()
    if layout.sequence_parallel and not layout.terms_over_tensor and degrees.tensor > 1:
        own = layout.sequences * counts * degrees.tensor
        gathers.append(LayerCollective("all_gather", own, "tensor", payload=PAIR_COUNTS))
    if degrees.data > 1:
        gathers.append(LayerCollective("all_gather", counts * degrees.data, "data", payload=PAIR_COUNTS))
    return PassCollectives(tuple(gathers), ())


def _derive_routing_weights(job: Job, group: GroupName) -> PassCollectives:
    """Of expert indices and routing weights, whose tokens are on every rank of the group."""
    tokens = job.tokens if group == "tensor" else _count_replicated_tokens(job)
    choices = job.architecture.top_k * tokens
    weights = choices * job.software.element_bytes
    if group == "tensor" and job.parallelism.sequence_parallel:
        indices = LayerCollective("all_gather", choices * INDEX_BYTES, group, payload="expert indices")
        gather, scatter = (
            LayerCollective(kind, weights, group, payload=ROUTING_WEIGHTS) for kind in GATHER_SCATTER
        )
        return PassCollectives((indices, gather), (scatter,))
    return PassCollectives((), (LayerCollective("all_reduce", weights, group, payload=ROUTING_WEIGHTS),))


def _count_replicated_tokens(job: Job) -> float:
    """Tokens that all ranks with terms have. The order of the mesh decides which split comes first."""
    outside = job.parallelism.tensor_outside_terms
    return count_dispatched_tokens(job) if outside else count_local_tokens(job)


def _derive_all_to_alls(job: Job) -> PassCollectives:
    """Rows to the ranks of their experts and back, then their gradients the same way."""
    model, degrees = job.architecture, job.degrees
    if degrees.experts == 1 or not job.parallelism.dispatch_tokens:
        return NO_COLLECTIVES
    deduplicate = job.software.deduplicate_tokens
    copies = (
        count_ranks_per_token(model.experts, degrees.experts, model.top_k) if deduplicate else model.top_k
    )
    rows = count_dispatched_tokens(job) * copies
    bytes = rows * model.hidden * job.software.element_bytes * job.expert_load
    there_and_back = 2 * (LayerCollective("all_to_all", bytes, "experts", True),)
    return PassCollectives(there_and_back, there_and_back)


def _sum_both_ways(bytes: float, group: GroupName) -> PassCollectives:
    """An all-reduce in the forward pass, and one in the backward pass."""
    total = (LayerCollective("all_reduce", bytes, group),)
    return PassCollectives(total, total)
