"""One microbatch in one layer on one rank: matmuls, bytes moved in memory, collectives, what is kept.

A part is what can be computed again by itself, with the norm before it and the residual sum after. Bytes that
elementwise operators move are counted as if each norm, activation and sum were one kernel. T tokens, H
hidden, as in `job.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import comb
from typing import Literal, NamedTuple

from parc.cost.compute import Matmul
from parc.cost.job import Architecture, Job, Recompute

Kind = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all"]
Over = Literal["tensor", "context", "experts", "expert_tensor"]

AGAIN: dict[Recompute, tuple[str, ...]] = {
    "none": (),
    "scores": ("scores",),
    "attention": ("attention", "scores"),
    "experts": ("experts",),
    "layer": ("attention", "scores", "ffn", "experts"),
}
"""The parts whose forward pass is repeated in the backward pass."""


class Move(NamedTuple):
    """A collective over a group of the layout; bytes as in `network.py`."""

    kind: Kind
    bytes: float
    over: Over


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    matmuls: tuple[Matmul, ...]
    traffic: float  # bytes in and out of memory besides the matmuls', forward
    kept: float  # bytes between forward and backward pass
    forward: tuple[Move, ...] = ()
    backward: tuple[Move, ...] = ()
    fused: float = 0.0  # FLOPs of fused attention, forward, as they are executed


def attention(job: Job) -> Part:
    """Norm, projections, positions, residual sum: all but the scores."""
    of, element = job.architecture, job.practice.element
    T, resident = job.tokens, _resident(job)
    wide, out = _widths(job)
    matmuls = (*_projections(job), Matmul(T, of.hidden, out))
    traffic = element * (5 * resident * of.hidden + 2 * T * wide)
    kept = element * (resident * of.hidden + _gathered(job) * of.hidden + T * (wide + out))
    if job.practice.dropout:
        traffic, kept = traffic + 3 * resident * of.hidden, kept + resident * of.hidden
    forward, backward = _split_matmuls(job)
    return Part("attention", matmuls, traffic, kept, forward, backward)


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
        matmuls = (Matmul(of.length, of.length, query, each), Matmul(of.length, value, of.length, each))
        cells = of.length * T * heads
        traffic = cells * (2 * does.element + (2 * does.element + 1 if does.dropout else 0))
        kept = cells * (does.element + (does.element + 1 if does.dropout else 0))
    forward: tuple[Move, ...] = ()
    backward: tuple[Move, ...] = ()
    if by.context > 1:
        pairs = does.element * T * by.context * _pair_heads(job) * (query + value)
        forward = (Move("all_gather", pairs, "context"),)
        backward = (*forward, Move("reduce_scatter", pairs, "context"))
    return Part("scores", matmuls, traffic, kept, forward, backward, fused)


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
    down = [Matmul(_resident(job), query + pair + rope, of.hidden)]
    return down + up


def dense(job: Job) -> Part:
    of = job.architecture
    wide = of.dense_ffn / job.degrees.tensor
    element, T, resident = job.practice.element, job.tokens, _resident(job)
    into = 2 if of.gated else 1
    matmuls = (Matmul(T, into * wide, of.hidden), Matmul(T, of.hidden, wide))
    traffic = element * (5 * resident * of.hidden + (into + 1) * T * wide)
    kept = element * (resident * of.hidden + _gathered(job) * of.hidden + (into + 1) * T * wide)
    if job.practice.dropout:
        traffic, kept = traffic + 3 * resident * of.hidden, kept + resident * of.hidden
    forward, backward = _split_matmuls(job)
    return Part("ffn", matmuls, traffic, kept, forward, backward)


def experts(job: Job) -> Part:
    """Router, dispatch, experts, combination, and the shared expert where there is one."""
    of, by, element = job.architecture, job.degrees, job.practice.element
    resident, here = _resident(job), dispatched(job)
    rows, local = received(job) * job.load, of.experts / by.experts
    wide, into = of.ffn / by.expert_tensor, 2 if of.gated else 1
    shared = of.shared_ffn / by.tensor
    matmuls = [
        Matmul(here, of.experts, of.hidden),
        Matmul(rows / local, into * wide, of.hidden, local),
        Matmul(rows / local, of.hidden, wide, local),
    ]
    if shared:
        matmuls += [Matmul(job.tokens, into * shared, of.hidden), Matmul(job.tokens, of.hidden, shared)]
    # There and back: into the order of ranks, written and read once; of experts, rows read and written.
    sorted_rows = 2 * here * of.top_k * of.hidden + 4 * rows * of.hidden
    inner = (into + 1) * (rows * wide + job.tokens * shared)
    scores = 4 * here * of.experts  # the router works in float32
    traffic = element * (5 * resident * of.hidden + sorted_rows + inner) + 4 * scores
    kept = (
        element * (2 * resident * of.hidden + rows * of.hidden + here * of.top_k * of.hidden + inner)
        + 2 * scores
    )
    forward, backward = _journeys(job)
    return Part("experts", tuple(matmuls), traffic, kept, forward, backward)


def head(job: Job) -> Part:
    """Final norm, output matmul and cross-entropy in float32; kept are logits and their gradient."""
    of, element = job.architecture, job.practice.element
    vocab = of.vocab / job.degrees.tensor
    logits = job.tokens * vocab
    traffic = element * 2 * _resident(job) * of.hidden + logits * (2 * element + 3 * 4)
    kept = logits * (4 + element) + element * (_resident(job) + _gathered(job)) * of.hidden
    forward, backward = _split_matmuls(job)
    return Part("head", (Matmul(job.tokens, vocab, of.hidden),), traffic, kept, forward[:1], backward[:1])


def dispatched(job: Job) -> float:
    """Tokens whose routing one rank decides, of one microbatch."""
    return _resident(job) / job.layout.split


def received(job: Job) -> float:
    """Rows that a rank's experts get if routing is even: expected, whatever the routing."""
    of, by = job.architecture, job.degrees
    rows = dispatched(job) * of.top_k
    if not job.layout.travel:
        return rows / by.experts
    return rows * by.expert_tensor if job.layout.sequence else rows


def copies(experts: int, ranks: int, choices: int) -> float:
    """How many of `ranks` one token's experts are on, in the mean, if all choices are equally likely."""
    away = comb(experts - experts // ranks, choices) / comb(experts, choices)
    return ranks * (1 - away)


def _journeys(job: Job) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    of, by, layout, element = job.architecture, job.degrees, job.layout, job.practice.element
    token = of.hidden * element
    moves: list[Move] = []
    if by.experts > 1 and layout.travel:
        each = copies(of.experts, by.experts, of.top_k) if job.practice.deduplicate else of.top_k
        moves += 2 * [Move("all_to_all", dispatched(job) * each * token * job.load, "experts")]
    elif by.experts > 1:
        moves.append(Move("all_reduce", job.tokens * token, "experts"))
    if by.expert_tensor > 1 and layout.sequence:
        rows = received(job) * token * job.load
        moves += [Move("all_gather", rows, "expert_tensor"), Move("reduce_scatter", rows, "expert_tensor")]
    elif by.expert_tensor > 1:
        moves.append(Move("all_reduce", job.tokens * token, "expert_tensor"))
    if layout.split > 1:
        moves.append(Move("all_gather", job.tokens * token, "tensor"))
    if of.shared_ffn and by.tensor > 1:
        moves += _split_matmuls(job)[0]
    return tuple(moves), tuple(moves)


def _split_matmuls(job: Job) -> tuple[tuple[Move, ...], tuple[Move, ...]]:
    """What a matmul split by columns and one split by rows need, around them, forward and backward."""
    if job.degrees.tensor == 1:
        return (), ()
    whole = job.tokens * job.architecture.hidden * job.practice.element
    if not job.layout.sequence:
        move = (Move("all_reduce", whole, "tensor"),)
        return move, move
    gather, scatter = Move("all_gather", whole, "tensor"), Move("reduce_scatter", whole, "tensor")
    return (gather, scatter), (gather, scatter, gather) if job.practice.regather else (gather, scatter)


def entry(job: Job) -> float:
    """Bytes that go into a layer, of one microbatch."""
    return _resident(job) * job.architecture.hidden * job.practice.element


def _resident(job: Job) -> float:
    """Tokens that this rank has between matmuls that are split."""
    return job.tokens / job.degrees.tensor if job.layout.sequence else job.tokens


def _gathered(job: Job) -> float:
    """Tokens of a split matmul's input that are kept for its gradient."""
    return _resident(job) if job.practice.regather else job.tokens
