"""How many parameters, and where: exact arithmetic over the shape.

Counted are weights of matmuls, embeddings, routers, and one vector a norm (RMSNorm); biases are not in
`shape`.
"""

from __future__ import annotations

from typing import NamedTuple

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job, Stage


class Held(NamedTuple):
    """Parameters of one rank, by who else holds them: all data ranks (and all of `tensor`, those that are
    whole), or those with the same experts."""

    split: float
    whole: float
    experts: float

    @property
    def shared(self) -> float:
        """All but the experts'."""
        return self.split + self.whole

    @property
    def all(self) -> float:
        return self.shared + self.experts


def attention(of: Architecture) -> int:
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


def ffn(of: Architecture, width: int) -> int:
    return (3 if of.gated else 2) * of.hidden * width


def layer(of: Architecture, sparse: bool) -> int:
    """Of one whole layer."""
    norms = 2 * of.hidden
    if not sparse:
        return attention(of) + ffn(of, of.dense_ffn) + norms
    routed = of.experts * ffn(of, of.ffn) + of.experts * of.hidden
    return attention(of) + routed + ffn(of, of.shared_ffn) + norms


def model(of: Architecture) -> int:
    """Of the whole model."""
    dense = of.dense_layers if of.experts else of.layers
    tables = (1 if of.tied else 2) * of.vocab * of.hidden
    return dense * layer(of, False) + (of.layers - dense) * layer(of, True) + tables + of.hidden


def active(of: Architecture) -> int:
    """Of the whole model, those that one token meets in matmuls."""
    dense = of.dense_layers if of.experts else of.layers
    idle = (of.experts - of.top_k) * ffn(of, of.ffn) + 2 * of.hidden
    sparse = (of.layers - dense) * (layer(of, True) - idle)
    return dense * (layer(of, False) - 2 * of.hidden) + sparse + of.vocab * of.hidden


def held(job: Job, stage: Stage) -> Held:
    """Of one rank in this stage."""
    of, by = job.architecture, job.degrees
    split, whole = _shared(of, stage)
    experts = stage.sparse * of.experts * ffn(of, of.ffn) / (by.experts * by.expert_tensor)
    return Held(split / by.tensor, whole, experts)


def _shared(of: Architecture, stage: Stage) -> tuple[int, int]:
    """All but the experts: split over `tensor`, and whole on each of its ranks."""
    tables = stage.first + (stage.last and not (of.tied and stage.first))
    split = (stage.dense + stage.sparse) * attention(of) + tables * of.vocab * of.hidden
    split += stage.dense * ffn(of, of.dense_ffn) + stage.sparse * ffn(of, of.shared_ffn)
    norms = (2 * (stage.dense + stage.sparse) + stage.last) * of.hidden
    return split, norms + stage.sparse * of.experts * of.hidden


def flops(job: Job) -> float:
    """Of one step, on all devices: three times the forward pass's matmuls, recomputation not counted.

    Attention counts each position with each, as torch's counter does.
    """
    of = job.architecture
    width = of.latent.nope + of.latent.rope + of.latent.value if of.latent else 2 * of.head_dim
    token = 2 * active(of) + 2 * of.layers * of.length * of.heads * width
    return 3 * token * tokens(job)


def tokens(job: Job) -> float:
    """Of one step, on all devices."""
    return job.tokens * job.layout.microbatches * job.degrees.data
