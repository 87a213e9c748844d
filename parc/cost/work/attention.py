"""The two parts of attention: its projections, and its scores."""

from __future__ import annotations

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, cache_per_job
from parc.cost.work.part import (
    NO_COLLECTIVES,
    LayerCollective,
    Matmul,
    Part,
    PassCollectives,
    count_local_tokens,
    count_norm_input_bytes,
    count_saved_input_tokens,
)
from parc.cost.work.tensor_collectives import derive_column_parallel, derive_row_parallel


@cache_per_job
def derive_attention(job: Job) -> Part:
    """Norm, projections, positions, residual sum: all but the scores."""
    model, element = job.architecture, job.software.element_bytes
    T, local = job.tokens, count_local_tokens(job)
    qkv, out = _count_projection_widths(job)
    matmuls = (*_list_projections(job), Matmul(T, model.hidden, out))
    traffic = element * (5 * local * model.hidden + 2 * T * qkv)
    saved = element * (count_saved_input_tokens(job) * model.hidden + T * (qkv + out))
    saved += count_norm_input_bytes(job)
    if job.software.dropout:
        traffic, saved = traffic + 3 * local * model.hidden, saved + local * model.hidden
    collectives = derive_column_parallel(job) + derive_row_parallel(job)
    return Part("attention", matmuls, traffic, saved, collectives)


@cache_per_job
def derive_scores(job: Job) -> Part:
    """Each position with those before it; keys and values of other ranks of `context` are gathered."""
    model, degrees, software = job.architecture, job.degrees, job.software
    T, heads = job.tokens, model.heads / degrees.tensor
    query, value = _find_head_dims(model)
    matmuls: tuple[Matmul, ...] = ()
    traffic, saved, flops = 0.0, 0.0, 0.0
    if software.flash_attention:
        flops = model.length * T * heads * (query + value)  # it skips later positions: half of all
        saved = 4 * T * heads
    else:
        batch = job.parallelism.sequences * heads
        matmuls = (
            Matmul(model.length, model.length, query, batch, has_parameter=False),
            Matmul(model.length, value, model.length, batch, has_parameter=False),
        )
        cells = model.length * T * heads
        element = software.element_bytes
        traffic = cells * (2 * element + (2 * element + 1 if software.dropout else 0))
        saved = cells * (element + (element + 1 if software.dropout else 0))
    collectives = NO_COLLECTIVES
    if degrees.context > 1:
        pairs = software.element_bytes * T * degrees.context * _count_key_value_heads(job) * (query + value)
        gather = LayerCollective("all_gather", pairs, "context")
        scatter = LayerCollective("reduce_scatter", pairs, "context")
        collectives = PassCollectives((gather,), (gather, scatter))
    return Part("scores", matmuls, traffic, saved, collectives, flops)


def _find_head_dims(model: Architecture) -> tuple[int, int]:
    """The size of a head of queries and keys, and of a head of values."""
    return (
        (model.latent.nope + model.latent.rope, model.latent.value)
        if model.latent
        else (model.head_dim, model.head_dim)
    )


def _count_key_value_heads(job: Job) -> float:
    """Heads of keys and values on one rank; latent attention has one for each query."""
    model, tensor = job.architecture, job.degrees.tensor
    return model.heads / tensor if model.latent else max(model.kv_heads / tensor, 1)


def _count_projection_widths(job: Job) -> tuple[float, float]:
    """Columns of query, key and value together, and of the result of attention, on one rank."""
    query, value = _find_head_dims(job.architecture)
    heads = job.architecture.heads / job.degrees.tensor
    return heads * query + _count_key_value_heads(job) * (query + value), heads * value


def _list_projections(job: Job) -> list[Matmul]:
    """The matmuls from hidden to query, key and value."""
    model, T, tensor = job.architecture, job.tokens, job.degrees.tensor
    if not model.latent:
        return [Matmul(T, _count_projection_widths(job)[0], model.hidden)]
    query, pair, nope, rope, value = model.latent
    heads = model.heads / tensor
    up = [Matmul(T, heads * (nope + value), pair), Matmul(T, heads * (nope + rope), query or model.hidden)]
    down = [Matmul(count_local_tokens(job), query + pair + rope, model.hidden)]
    return down + up
