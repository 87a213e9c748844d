"""Attention: its projections, and its scores."""

from __future__ import annotations

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, once
from parc.cost.work.part import NOTHING, Matmul, Move, Moves, Part, gathered, resident
from parc.cost.work.tensor_collectives import into, out_of


@once
def attention(job: Job) -> Part:
    """Norm, projections, positions, residual sum: all but the scores."""
    of, element = job.architecture, job.practice.element
    T, mine = job.tokens, resident(job)
    wide, out = _widths(job)
    matmuls = (*_projections(job), Matmul(T, of.hidden, out))
    traffic = element * (5 * mine * of.hidden + 2 * T * wide)
    kept = element * (mine * of.hidden + gathered(job) * of.hidden + T * (wide + out))
    if job.practice.dropout:
        traffic, kept = traffic + 3 * mine * of.hidden, kept + mine * of.hidden
    return Part("attention", matmuls, traffic, kept, into(job) + out_of(job))


@once
def scores(job: Job) -> Part:
    """Each position with those before it, and the keys and values of other ranks of `context`."""
    of, by, does = job.architecture, job.degrees, job.practice
    T, heads = job.tokens, of.heads / by.tensor
    query, value = _head_dims(of)
    matmuls: tuple[Matmul, ...] = ()
    traffic, kept, fused = 0.0, 0.0, 0.0
    if does.flash:
        fused = of.length * T * heads * (query + value)  # it skips what lies in the future: half of all
        kept = 4 * T * heads
    else:
        each = job.layout.sequences * heads
        matmuls = (
            Matmul(of.length, of.length, query, each, weight=False),
            Matmul(of.length, value, of.length, each, weight=False),
        )
        cells = of.length * T * heads
        traffic = cells * (2 * does.element + (2 * does.element + 1 if does.dropout else 0))
        kept = cells * (does.element + (does.element + 1 if does.dropout else 0))
    moves = NOTHING
    if by.context > 1:
        pairs = does.element * T * by.context * _pair_heads(job) * (query + value)
        gather, scatter = Move("all_gather", pairs, "context"), Move("reduce_scatter", pairs, "context")
        moves = Moves((gather,), (gather, scatter))
    return Part("scores", matmuls, traffic, kept, moves, fused)


def _head_dims(of: Architecture) -> tuple[int, int]:
    """Of a query (or key) and of a value."""
    return (of.latent.nope + of.latent.rope, of.latent.value) if of.latent else (of.head_dim, of.head_dim)


def _pair_heads(job: Job) -> float:
    """Heads of keys and values on one rank; latent attention has one for each query."""
    of, tensor = job.architecture, job.degrees.tensor
    return of.heads / tensor if of.latent else max(of.kv_heads / tensor, 1)


def _widths(job: Job) -> tuple[float, float]:
    """Of query, key and value side by side, and of what attention gives, on one rank."""
    query, value = _head_dims(job.architecture)
    heads = job.architecture.heads / job.degrees.tensor
    return heads * query + _pair_heads(job) * (query + value), heads * value


def _projections(job: Job) -> list[Matmul]:
    """Hidden to query, key and value."""
    of, T, tensor = job.architecture, job.tokens, job.degrees.tensor
    if not of.latent:
        return [Matmul(T, _widths(job)[0], of.hidden)]
    query, pair, nope, rope, value = of.latent
    heads = of.heads / tensor
    up = [Matmul(T, heads * (nope + value), pair), Matmul(T, heads * (nope + rope), query or of.hidden)]
    down = [Matmul(resident(job), query + pair + rope, of.hidden)]
    return down + up
