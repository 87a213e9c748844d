"""The sizes of a decoder, as the cost model needs them."""

from __future__ import annotations

from parc.named_tuple import NamedTuple
from parc.record import dataclass


class LatentAttention(NamedTuple):
    """Multi-head latent attention: ranks of the compressed query and key-value, and head sizes."""

    query: int
    key_value: int
    nope: int
    rope: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder. Without `experts` all layers are dense, and `ffn` is their width."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # width of one expert
    dense_ffn: int  # width of the FFN in a layer without experts
    vocab: int
    length: int  # of a sequence, in tokens
    gated: bool = True
    experts: int = 0
    top_k: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0  # the first ones, of a model with experts
    scattered_layers: int = 0  # without experts, evenly among all that follow
    tied: bool = False
    latent: LatentAttention | None = None
    no_attention: int = 0  # layers that have something else instead, which `other` counts
    other: int = 0  # parameters of all layers together that no other size counts

    @property
    def expert_layers(self) -> int:
        """Layers with experts."""
        return self.layers - self.dense_layers - self.scattered_layers if self.experts else 0
