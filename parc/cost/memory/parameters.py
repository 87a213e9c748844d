"""How many parameters a model has, and how many of them a rank holds.

Counted are the weights of matmuls, embeddings and routers, one vector for each norm (RMSNorm), and what the
shape has as `other`.
"""

from __future__ import annotations

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, StageShape
from parc.named_tuple import NamedTuple


class RankParameters(NamedTuple):
    """Parameters of one rank, by the ranks that hold the same ones."""

    tensor_split: float  # split over `tensor`; all data ranks hold the same
    replicated: float  # whole on each rank of `tensor`; all data ranks hold the same
    experts: float  # ranks of `expert_data` hold the same
    embedding: float  # of the first two: of the table, where it is not the head as well
    head: float  # of the first two: of the head and the norm before it; what is tied is part of it
    kept: float = 0.0  # of `replicated`, in 32 bits by their kind
    kept_head: float = 0.0  # of these, the norm before the head

    @property
    def non_experts(self) -> float:
        """All parameters but those of experts."""
        return self.tensor_split + self.replicated

    @property
    def total(self) -> float:
        """All parameters of the rank."""
        return self.non_experts + self.experts


def count_attention(model: Architecture) -> int:
    """Parameters of the attention of one layer."""
    if not model.latent:
        return model.hidden * model.head_dim * 2 * (model.heads + model.kv_heads)
    query, pair, nope, rope, value = model.latent
    queries = (query or model.hidden) * (nope + rope)
    of_heads = model.heads * (queries + pair * (nope + value) + value * model.hidden)
    return of_heads + count_latent_inputs(model) + count_latent_norms(model)


def count_latent_inputs(model: Architecture) -> int:
    """Parameters of latent attention that make the vectors of a low rank, which all heads share."""
    if not model.latent:
        return 0
    return model.hidden * (model.latent.query + model.latent.key_value + model.latent.rope)


def count_latent_norms(model: Architecture) -> int:
    """Parameters of the norms of these vectors, in one layer."""
    return model.latent.query + model.latent.key_value if model.latent else 0


def count_ffn(model: Architecture, width: int) -> int:
    """Parameters of one FFN of this width."""
    return (3 if model.gated else 2) * model.hidden * width


def count_layer(model: Architecture, has_experts: bool) -> int:
    """Parameters of one layer."""
    norms = 2 * model.hidden
    if not has_experts:
        return count_attention(model) + count_ffn(model, model.dense_ffn) + norms
    routed = model.experts * count_ffn(model, model.ffn) + model.experts * model.hidden
    return count_attention(model) + routed + count_ffn(model, model.shared_ffn) + norms


def count_model(model: Architecture) -> int:
    """Parameters of the whole model."""
    dense = model.layers - model.expert_layers
    tables = (1 if model.tied else 2) * model.vocab * model.hidden
    layers = dense * count_layer(model, False) + (model.layers - dense) * count_layer(model, True)
    layers -= model.no_attention * count_attention(model)
    return layers + model.other + tables + model.hidden


def count_active(model: Architecture) -> int:
    """Parameters of the model that one token is multiplied with."""
    dense = model.layers - model.expert_layers
    idle = (model.experts - model.top_k) * count_ffn(model, model.ffn) + 2 * model.hidden
    sparse = (model.layers - dense) * (count_layer(model, True) - idle)
    layers = dense * (count_layer(model, False) - 2 * model.hidden) + sparse
    layers -= model.no_attention * count_attention(model)
    layers -= (model.layers - model.no_attention) * count_latent_norms(model)
    return layers + model.other + model.vocab * model.hidden


def count_rank_parameters(job: Job, stage: StageShape) -> RankParameters:
    """Of one rank in this stage."""
    model, degrees = job.architecture, job.degrees
    split, replicated = _count_non_experts(model, stage)
    experts = stage.moe_layers * model.experts * count_ffn(model, model.ffn)
    ranks = degrees.experts * degrees.expert_tensor
    table = model.vocab * model.hidden / degrees.tensor
    embedding = 0.0 if is_tied(job, stage) else stage.has_embedding * table
    head = stage.has_head * (table + model.hidden)
    kept_head = stage.has_head * model.hidden if "norms" in job.software.kept else 0.0
    kept = _count_kept(job, stage) + kept_head
    return RankParameters(
        split / degrees.tensor, replicated, experts / ranks, embedding, head, kept, kept_head
    )


def _count_kept(job: Job, stage: StageShape) -> float:
    """Parameters of the layers of a stage that are in 32 bits by their kind."""
    hidden, layers = job.architecture.hidden, stage.dense_layers + stage.moe_layers
    norms = 2 * layers * hidden if "norms" in job.software.kept else 0
    routers = stage.moe_layers * job.architecture.experts * hidden if "router" in job.software.kept else 0
    return norms + routers


def is_tied(job: Job, stage: StageShape) -> bool:
    """Whether the stage has a head that is its embedding."""
    return job.architecture.tied and stage.has_embedding and stage.has_head


def _count_tables(model: Architecture, stage: StageShape) -> int:
    """Matrices of the vocabulary."""
    return stage.has_embedding + (stage.has_head and not (model.tied and stage.has_embedding))


def _count_non_experts(model: Architecture, stage: StageShape) -> tuple[int, float]:
    """Parameters that are split over `tensor`, all parts together, and those whole on each of its ranks."""
    layers = stage.dense_layers + stage.moe_layers
    tables = _count_tables(model, stage) * model.vocab * model.hidden
    whole = (layers - stage.no_attention) * (count_latent_inputs(model) + count_latent_norms(model))
    split = (layers - stage.no_attention) * count_attention(model) - whole + tables
    split += stage.dense_layers * count_ffn(model, model.dense_ffn)
    split += stage.moe_layers * count_ffn(model, model.shared_ffn)
    norms = (2 * layers + stage.has_head) * model.hidden
    other = model.other * layers / model.layers
    return split, whole + norms + stage.moe_layers * model.experts * model.hidden + other


def count_flops(job: Job) -> float:
    """FLOPs of one step on all devices: three times those of the forward pass's matmuls.

    Recomputation is not counted. Attention counts every pair of positions, as torch's counter does.
    """
    model = job.architecture
    width = model.latent.nope + model.latent.rope + model.latent.value if model.latent else 2 * model.head_dim
    layers = model.layers - model.no_attention
    token = 2 * count_active(model) + 2 * layers * model.length * model.heads * width
    return 3 * token * count_tokens(job)


def count_tokens(job: Job) -> float:
    """Tokens of one step on all devices."""
    return job.tokens * job.parallelism.microbatches * job.degrees.data
