"""The model as the cost model knows it: the sizes of a decoder."""

from __future__ import annotations

from typing import NamedTuple

from parc.record import dataclass


class Latent(NamedTuple):
    """Multi-head latent attention: ranks of the compressed query and key-value, and head sizes."""

    query: int
    key_value: int
    nope: int
    rope: int
    value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder. Without `experts` all layers are dense, and `ffn` is theirs."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int  # of one expert
    dense_ffn: int  # of a layer without experts
    vocab: int
    length: int  # of a sequence
    gated: bool = True
    experts: int = 0
    top_k: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0  # the first ones, of a model with experts
    tied: bool = False
    latent: Latent | None = None
