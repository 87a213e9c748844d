"""The two parts of attention: its projections, and its scores."""

from __future__ import annotations

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, cached_per_job
from parc.cost.work.part import (
    NO_COLLECTIVES,
    LayerCollective,
    Matmul,
    Part,
    PassCollectives,
    count_local_tokens,
    count_saved_input_tokens,
)
from parc.cost.work.tensor_collectives import derive_column_parallel, derive_row_parallel


@cached_per_job
def derive_attention(job: Job) -> Part:
    """Norm, projections, positions, residual sum: all but the scores."""
    of, element = job.architecture, job.software.element_bytes
    T, local = job.tokens, count_local_tokens(job)
    qkv, out = _count_projection_widths(job)
    matmuls = (*_list_projections(job), Matmul(T, of.hidden, out))
    traffic = element * (5 * local * of.hidden + 2 * T * qkv)
    saved = element * (local * of.hidden + count_saved_input_tokens(job) * of.hidden + T * (qkv + out))
    if job.software.dropout:
        traffic, saved = traffic + 3 * local * of.hidden, saved + local * of.hidden
    collectives = derive_column_parallel(job) + derive_row_parallel(job)
    return Part("attention", matmuls, traffic, saved, collectives)


@cached_per_job
def derive_scores(job: Job) -> Part:
    """Each position with those before it; keys and values of other ranks of `context` are gathered."""
    of, by, software = job.architecture, job.degrees, job.software
    T, heads = job.tokens, of.heads / by.tensor
    query, value = _find_head_dims(of)
    matmuls: tuple[Matmul, ...] = ()
    traffic, saved, flops = 0.0, 0.0, 0.0
    if software.flash_attention:
        flops = of.length * T * heads * (query + value)  # it skips later positions: half of all
        saved = 4 * T * heads
    else:
        batch = job.parallelism.sequences * heads
        matmuls = (
            Matmul(of.length, of.length, query, batch, has_parameter=False),
            Matmul(of.length, value, of.length, batch, has_parameter=False),
        )
        cells = of.length * T * heads
        element = software.element_bytes
        traffic = cells * (2 * element + (2 * element + 1 if software.dropout else 0))
        saved = cells * (element + (element + 1 if software.dropout else 0))
    collectives = NO_COLLECTIVES
    if by.context > 1:
        pairs = software.element_bytes * T * by.context * _count_key_value_heads(job) * (query + value)
        gather = LayerCollective("all_gather", pairs, "context")
        scatter = LayerCollective("reduce_scatter", pairs, "context")
        collectives = PassCollectives((gather,), (gather, scatter))
    return Part("scores", matmuls, traffic, saved, collectives, flops)


def _find_head_dims(of: Architecture) -> tuple[int, int]:
    """The size of a head of queries and keys, and of a head of values."""
    return (of.latent.nope + of.latent.rope, of.latent.value) if of.latent else (of.head_dim, of.head_dim)


def _count_key_value_heads(job: Job) -> float:
    """Heads of keys and values on one rank; latent attention has one for each query."""
    of, tensor = job.architecture, job.degrees.tensor
    return of.heads / tensor if of.latent else max(of.kv_heads / tensor, 1)


def _count_projection_widths(job: Job) -> tuple[float, float]:
    """Columns of query, key and value together, and of the result of attention, on one rank."""
    query, value = _find_head_dims(job.architecture)
    heads = job.architecture.heads / job.degrees.tensor
    return heads * query + _count_key_value_heads(job) * (query + value), heads * value


def _list_projections(job: Job) -> list[Matmul]:
    """The matmuls from hidden to query, key and value."""
    of, T, tensor = job.architecture, job.tokens, job.degrees.tensor
    if not of.latent:
        return [Matmul(T, _count_projection_widths(job)[0], of.hidden)]
    query, pair, nope, rope, value = of.latent
    heads = of.heads / tensor
    up = [Matmul(T, heads * (nope + value), pair), Matmul(T, heads * (nope + rope), query or of.hidden)]
    down = [Matmul(count_local_tokens(job), query + pair + rope, of.hidden)]
    return down + up
