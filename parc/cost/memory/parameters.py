"""How many parameters a model has, and how many of them a rank holds.

Counted are the weights of matmuls, embeddings and routers, and one vector for each norm (RMSNorm). Biases are
not in a `shape`, and not counted.
"""

from __future__ import annotations

from typing import NamedTuple

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, StageShape


class RankParameters(NamedTuple):
    """Parameters of one rank, by the ranks that hold the same ones."""

    tensor_split: float  # split over `tensor`; all data ranks hold the same
    replicated: float  # whole on each rank of `tensor`; all data ranks hold the same
    experts: float  # ranks of `expert_data` hold the same

    @property
    def non_experts(self) -> float:
        return self.tensor_split + self.replicated

    @property
    def total(self) -> float:
        return self.non_experts + self.experts


def count_attention(of: Architecture) -> int:
    if not of.latent:
        return of.hidden * of.head_dim * 2 * (of.heads + of.kv_heads)
    query, pair, nope, rope, value = of.latent
    up = of.heads * (nope + rope)
    down = of.hidden * query + query * up + query if query else of.hidden * up
    return (
        down
        + of.hidden * (pair + rope)
        + pair
        + pair * of.heads * (nope + value)
        + of.heads * value * of.hidden
    )


def count_ffn(of: Architecture, width: int) -> int:
    return (3 if of.gated else 2) * of.hidden * width


def count_layer(of: Architecture, has_experts: bool) -> int:
    norms = 2 * of.hidden
    if not has_experts:
        return count_attention(of) + count_ffn(of, of.dense_ffn) + norms
    routed = of.experts * count_ffn(of, of.ffn) + of.experts * of.hidden
    return count_attention(of) + routed + count_ffn(of, of.shared_ffn) + norms


def count_model(of: Architecture) -> int:
    dense = of.dense_layers if of.experts else of.layers
    tables = (1 if of.tied else 2) * of.vocab * of.hidden
    layers = dense * count_layer(of, False) + (of.layers - dense) * count_layer(of, True)
    return layers + tables + of.hidden


def count_active(of: Architecture) -> int:
    """Parameters of the model that one token is multiplied with."""
    dense = of.dense_layers if of.experts else of.layers
    idle = (of.experts - of.top_k) * count_ffn(of, of.ffn) + 2 * of.hidden
    sparse = (of.layers - dense) * (count_layer(of, True) - idle)
    return dense * (count_layer(of, False) - 2 * of.hidden) + sparse + of.vocab * of.hidden


def count_rank_parameters(job: Job, stage: StageShape) -> RankParameters:
    """Of one rank in this stage."""
    of, by = job.architecture, job.degrees
    split, replicated = _count_non_experts(of, stage)
    experts = stage.moe_layers * of.experts * count_ffn(of, of.ffn) / (by.experts * by.expert_tensor)
    return RankParameters(split / by.tensor, replicated, experts)


def _count_non_experts(of: Architecture, stage: StageShape) -> tuple[int, int]:
    """Parameters that are split over `tensor`, all parts together, and those whole on each of its ranks."""
    layers = stage.dense_layers + stage.moe_layers
    tables = stage.has_embedding + (stage.has_head and not (of.tied and stage.has_embedding))
    split = layers * count_attention(of) + tables * of.vocab * of.hidden
    split += stage.dense_layers * count_ffn(of, of.dense_ffn)
    split += stage.moe_layers * count_ffn(of, of.shared_ffn)
    norms = (2 * layers + stage.has_head) * of.hidden
    return split, norms + stage.moe_layers * of.experts * of.hidden


def count_flops(job: Job) -> float:
    """FLOPs of one step on all devices: three times those of the forward pass's matmuls.

    Recomputation is not counted. Attention counts every pair of positions, as torch's counter does.
    """
    of = job.architecture
    width = of.latent.nope + of.latent.rope + of.latent.value if of.latent else 2 * of.head_dim
    token = 2 * count_active(of) + 2 * of.layers * of.length * of.heads * width
    return 3 * token * count_tokens(job)


def count_tokens(job: Job) -> float:
    """Tokens of one step on all devices."""
    return job.tokens * job.parallelism.microbatches * job.degrees.data
