"""The parts of a pipeline stage: embedding, attention, FFN or experts of each layer, head."""

from __future__ import annotations

from parc.cost.job.job import Job, StageShape, cache_per_job
from parc.cost.job.software import WIDE
from parc.cost.work.attention import derive_attention, derive_scores
from parc.cost.work.expert_collectives import (
    count_dispatched_tokens,
    count_received_rows,
    derive_expert_collectives,
)
from parc.cost.work.part import (
    Matmul,
    Part,
    count_local_tokens,
    count_norm_input_bytes,
    count_saved_input_tokens,
)
from parc.cost.work.tensor_collectives import (
    derive_column_parallel,
    derive_row_parallel,
    derive_vocab_parallel_loss,
)


def derive_parts(job: Job, stage: StageShape) -> list[tuple[int, Part]]:
    """Every part of a stage, and how often the stage has it."""
    layers = stage.dense_layers + stage.moe_layers
    found = [(1, derive_embedding(job))] if stage.has_embedding else []
    attention = layers - stage.no_attention
    found += [(attention, derive_attention(job)), (attention, derive_scores(job))]
    if job.architecture.other:
        found.append((layers, derive_other(job)))
    if stage.dense_layers and job.architecture.dense_ffn:
        found.append((stage.dense_layers, derive_dense_ffn(job)))
    if stage.moe_layers:
        found.append((stage.moe_layers, derive_experts(job)))
    if stage.has_head:
        found.append((1, derive_head(job)))
    return found


@cache_per_job
def derive_embedding(job: Job) -> Part:
    """A lookup of rows in the embedding table."""
    traffic = 2 * job.software.element_bytes * job.tokens * job.architecture.hidden
    return Part("embedding", (), traffic, 0.0, derive_row_parallel(job))


@cache_per_job
def derive_other(job: Job) -> Part:
    """What no other part counts of a layer, as if it were a matmul that is whole on each rank of `tensor`."""
    model, element, local = job.architecture, job.software.element_bytes, count_local_tokens(job)
    width = model.other / model.layers / model.hidden
    return Part("other", (Matmul(local, width, model.hidden),), 0.0, element * local * width)


@cache_per_job
def derive_dense_ffn(job: Job) -> Part:
    """Norm, FFN, residual sum, of a layer without experts."""
    model = job.architecture
    width = model.dense_ffn / job.degrees.tensor
    element, T, local = job.software.element_bytes, job.tokens, count_local_tokens(job)
    inputs = 2 if model.gated else 1
    matmuls = (Matmul(T, inputs * width, model.hidden), Matmul(T, model.hidden, width))
    inner = (inputs + 1) * T * width
    traffic = element * (5 * local * model.hidden + inner)
    saved = element * (count_saved_input_tokens(job) * model.hidden + inner) + count_norm_input_bytes(job)
    if job.software.dropout:
        traffic, saved = traffic + 3 * local * model.hidden, saved + local * model.hidden
    return Part("ffn", matmuls, traffic, saved, derive_column_parallel(job) + derive_row_parallel(job))


@cache_per_job
def derive_experts(job: Job) -> Part:
    """Router, dispatch, experts, combination, and the shared expert if there is one."""
    model, degrees, element = job.architecture, job.degrees, job.software.element_bytes
    local, dispatched = count_local_tokens(job), count_dispatched_tokens(job)
    rows, experts = count_received_rows(job) * job.expert_load, model.experts / degrees.experts
    width, inputs = model.ffn / degrees.expert_tensor, 2 if model.gated else 1
    shared = model.shared_ffn / degrees.tensor
    matmuls = [
        Matmul(dispatched, model.experts, model.hidden),
        Matmul(rows / experts, inputs * width, model.hidden, experts),
        Matmul(rows / experts, model.hidden, width, experts),
    ]
    if shared:
        matmuls += [
            Matmul(job.tokens, inputs * shared, model.hidden),
            Matmul(job.tokens, model.hidden, shared),
        ]
    # Rows are sorted by rank, written and read once; rows of experts are read and written, there and back.
    sent = dispatched * model.top_k * min(1, job.expert_load)
    sorted_rows = 2 * sent * model.hidden + 4 * rows * model.hidden
    inner = (inputs + 1) * (rows * width + job.tokens * shared)
    scores = 4 * dispatched * model.experts  # the router works in float32
    traffic = element * (5 * local * model.hidden + sorted_rows + inner) + 4 * scores
    saved_rows = local * model.hidden + rows * model.hidden + dispatched * model.top_k * model.hidden
    saved = element * (saved_rows + inner) + 2 * scores + count_norm_input_bytes(job)
    if "router" in job.software.kept:  # a copy of its input
        saved += WIDE * dispatched * model.hidden
    return Part("experts", tuple(matmuls), traffic, saved, derive_expert_collectives(job))


@cache_per_job
def derive_head(job: Job) -> Part:
    """Final norm, output matmul, and cross-entropy in float32; logits and their gradient are saved."""
    model, element = job.architecture, job.software.element_bytes
    vocab, local = model.vocab / job.degrees.tensor, count_local_tokens(job)
    logits = job.tokens * vocab
    traffic = element * 2 * local * model.hidden + logits * (2 * element + 3 * 4)
    saved = logits * (4 + element) + element * count_saved_input_tokens(job) * model.hidden
    saved += count_norm_input_bytes(job)
    matmul = Matmul(job.tokens, vocab, model.hidden)
    collectives = derive_column_parallel(job) + derive_vocab_parallel_loss(job)
    return Part("head", (matmul,), traffic, saved, collectives)
