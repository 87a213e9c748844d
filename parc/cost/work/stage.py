"""The parts of a stage: words, attention, FFN or experts of each layer, and the head."""

from __future__ import annotations

from parc.cost.job.job import Job, Stage, once
from parc.cost.work import expert_collectives, tensor_collectives
from parc.cost.work.attention import attention, scores
from parc.cost.work.part import Matmul, Part, gathered, resident


def parts(job: Job, stage: Stage) -> list[tuple[int, Part]]:
    """Every part of a stage, and how often it is there."""
    layers = stage.dense + stage.sparse
    found = [(1, words(job))] if stage.first else []
    found += [(layers, attention(job)), (layers, scores(job))]
    if stage.dense:
        found.append((stage.dense, dense(job)))
    if stage.sparse:
        found.append((stage.sparse, experts(job)))
    if stage.last:
        found.append((1, head(job)))
    return found


@once
def words(job: Job) -> Part:
    """Rows of a table."""
    traffic = 2 * job.practice.element * job.tokens * job.architecture.hidden
    return Part("words", (), traffic, 0.0, tensor_collectives.out_of(job))


@once
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
    return Part("ffn", matmuls, traffic, kept, tensor_collectives.into(job) + tensor_collectives.out_of(job))


@once
def experts(job: Job) -> Part:
    """Router, dispatch, experts, combination, and the shared expert where there is one."""
    of, by, element = job.architecture, job.degrees, job.practice.element
    mine, here = resident(job), expert_collectives.dispatched(job)
    rows, local = expert_collectives.received(job) * job.load, of.experts / by.experts
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
    return Part("experts", tuple(matmuls), traffic, kept, expert_collectives.experts(job))


@once
def head(job: Job) -> Part:
    """Final norm, output matmul and cross-entropy in float32; kept are logits and their gradient."""
    of, element = job.architecture, job.practice.element
    vocab = of.vocab / job.degrees.tensor
    logits = job.tokens * vocab
    traffic = element * 2 * resident(job) * of.hidden + logits * (2 * element + 3 * 4)
    kept = logits * (4 + element) + element * (resident(job) + gathered(job)) * of.hidden
    return Part(
        "head",
        (Matmul(job.tokens, vocab, of.hidden),),
        traffic,
        kept,
        tensor_collectives.into(job) + tensor_collectives.loss(job),
    )
