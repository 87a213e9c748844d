"""The parts of a stage: attention, FFN or experts of each layer, and the head."""

from __future__ import annotations

from math import comb

from parc.cost.attention import attention, scores
from parc.cost.compute import Matmul
from parc.cost.job import Job, Stage
from parc.cost.parts import Move, Part, around, gathered, resident


def parts(job: Job, stage: Stage) -> list[tuple[int, Part]]:
    """Every part of a stage, and how often it is there."""
    layers = stage.dense + stage.sparse
    found = [(layers, attention(job)), (layers, scores(job))]
    if stage.dense:
        found.append((stage.dense, dense(job)))
    if stage.sparse:
        found.append((stage.sparse, experts(job)))
    if stage.last:
        found.append((1, head(job)))
    return found


def dense(job: Job) -> Part:
    of = job.architecture
    wide = of.dense_ffn / job.degrees.tensor
    element, T, mine = job.practice.element, job.tokens, resident(job)
    into = 2 if of.gated else 1
    matmuls = (Matmul(T, into * wide, of.hidden), Matmul(T, of.hidden, wide))
    traffic = element * (5 * mine * of.hidden + (into + 1) * T * wide)
    kept = element * (mine * of.hidden + gathered(job) * of.hidden + (into + 1) * T * wide)
    if job.practice.dropout:
        traffic, kept = traffic + 3 * mine * of.hidden, kept + mine * of.hidden
    forward, backward = around(job)
    return Part("ffn", matmuls, traffic, kept, forward, backward)


def experts(job: Job) -> Part:
    """Router, dispatch, experts, combination, and the shared expert where there is one."""
    of, by, element = job.architecture, job.degrees, job.practice.element
    mine, here = resident(job), dispatched(job)
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
    traffic = element * (5 * mine * of.hidden + sorted_rows + inner) + 4 * scores
    kept = (
        element * (2 * mine * of.hidden + rows * of.hidden + here * of.top_k * of.hidden + inner) + 2 * scores
    )
    forward, backward = _journeys(job)
    return Part("experts", tuple(matmuls), traffic, kept, forward, backward)


def head(job: Job) -> Part:
    """Final norm, output matmul and cross-entropy in float32; kept are logits and their gradient."""
    of, element = job.architecture, job.practice.element
    vocab = of.vocab / job.degrees.tensor
    logits = job.tokens * vocab
    traffic = element * 2 * resident(job) * of.hidden + logits * (2 * element + 3 * 4)
    kept = logits * (4 + element) + element * (resident(job) + gathered(job)) * of.hidden
    forward, backward = around(job)
    return Part("head", (Matmul(job.tokens, vocab, of.hidden),), traffic, kept, forward[:1], backward[:1])


def dispatched(job: Job) -> float:
    """Tokens whose routing one rank decides, of one microbatch."""
    return resident(job) / job.layout.split


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
        moves += around(job)[0]
    return tuple(moves), tuple(moves)
