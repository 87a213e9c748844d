"""How many parameters a model of a configuration has.

`tests/search/models.json` has the true numbers of the classes of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from parc.named_tuple import NamedTuple
from parc.search.config.ffn import FfnSizes, count_experts
from parc.search.config.keys import Keys
from parc.search.config.layers import Layer
from parc.search.config.mixers import count_attention, count_indexer, count_linear, find_latent

TIED = (
    *("jetmoe", "ernie4_5_moe", "lara_mini", "cohere2_moe", "cohere2", "zaya", "gemma", "gemma2", "gemma3"),
    *("gemma3_text", "gemma4", "gemma4_text", "gpt2", "bloom", "opt"),
)
"""Classes whose head is the embedding where the configuration does not say it."""


class ModelCount(NamedTuple):
    parameters: int
    uncounted: int  # layers with something instead of attention that is not known


def is_tied(keys: Keys) -> bool:
    """Whether the head has the weights of the embedding."""
    return keys.flag("tie_word_embeddings", keys.kind in TIED)


def count_parameters(keys: Keys, sizes: FfnSizes, layers: Sequence[Layer], vocab: int) -> ModelCount:
    """All parameters of the model; of norms one vector each."""
    hidden = keys.count("hidden_size", "n_embd", "d_model")
    linear = count_linear(keys)
    ffns = {"experts": count_experts(keys, sizes, hidden), "dense": sizes.count_weights(hidden, sizes.dense)}
    found = sum(ffns.get(each.ffn, 0) for each in layers)
    for index, each in enumerate(layers):
        if each.mixer == "linear":
            found += linear or 0
        elif each.mixer:
            found += count_attention(keys.of_layer(index), each.mixer, index)
    norms = sum(bool(each.mixer) + bool(each.ffn) for each in layers) + 1
    tables = (1 if is_tied(keys) else 2) * vocab * hidden
    found += norms * hidden + tables + _count_indexers(keys, layers) + _count_rest(keys, sizes, layers)
    return ModelCount(found, 0 if linear is not None else sum(each.mixer == "linear" for each in layers))


def count_encoder(keys: Keys) -> int:
    """Parameters of an encoder of pictures or sounds, roughly: those of its layers."""
    hidden = keys.count("hidden_size", "embed_dim", "width", "d_model")
    layers = keys.count("num_hidden_layers", "depth", "layers", "encoder_layers")
    inner = keys.count("intermediate_size", "encoder_ffn_dim", "mlp_dim") or 4 * hidden
    return layers * (4 * hidden * hidden + 2 * hidden * inner)


def _count_indexers(keys: Keys, layers: Sequence[Layer]) -> int:
    """In all layers: some have none, or share that of another layer."""
    types = keys.list("indexer_types")
    shared = [each == "shared" for each in types] if len(types) == len(layers) else [False] * len(layers)
    own = sum(each.mixer == "attention" and not other for each, other in zip(layers, shared, strict=True))
    return own * count_indexer(keys)


def _count_rest(keys: Keys, sizes: FfnSizes, layers: Sequence[Layer]) -> int:
    """What single families have in addition."""
    hidden, number = keys.count("hidden_size"), len(layers)
    if keys.kind == "longcat_flash":  # a layer has two of all but the experts, and experts that do nothing
        idle = keys.count("zero_expert_num") * (hidden + 2 * hidden * sizes.width)
        twice = (
            count_attention(keys, "attention", 0) + 2 * sizes.count_weights(hidden, sizes.dense) + 2 * hidden
        )
        return number * (twice + idle)
    if keys.kind == "axk2" and (latent := find_latent(keys)):  # queries come with gates, norms have gates
        query, _, nope, rope, value = latent
        heads = keys.count("num_attention_heads")
        gates = query * heads * (2 * (nope + rope + value) - nope - rope)
        return number * (gates + 4 * keys.count("gated_norm_rank") * hidden)
    if keys.kind.startswith("inkling2"):  # gates between the passes of a loop
        loop = keys.count("loop_layer_index_end") - keys.count("loop_layer_index_start")
        return loop * 16 * hidden * keys.count("loop_gate_rank")
    if keys.kind == "zaya":  # a router of several layers, convolutions, scales of the residual stream
        rank, experts = keys.count("router_hidden_size"), sizes.experts
        router = rank * (hidden + 2 * rank + experts + 1) - experts * hidden
        return number * (router + 8 * hidden) + 2 * hidden
    if keys.kind == "doge" and keys.flag("is_moe"):  # experts that are vectors, and a router in two parts
        experts = keys.count("num_experts")
        return number * 2 * hidden * (experts + isqrt(experts))
    if keys.kind in ("deepseek_v4", "glm5_next_text"):  # the residual stream is several
        streams = keys.count("hc_mult")
        return number * 2 * (streams * streams + 2 * streams) * streams * hidden
    if keys.kind.startswith("gemma4"):  # an input for each layer, from a table of its own
        width = keys.count("hidden_size_per_layer_input")
        table = keys.count("vocab_size_per_layer_input") * number * width
        return table + number * width * 3 * hidden
    return 0
