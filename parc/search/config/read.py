"""Reads the `config.json` of a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from parc.cost.job.architecture import Architecture, LatentAttention
from parc.cost.memory import parameters
from parc.search.config.classes import KNOWN
from parc.search.config.count import count_encoder, count_parameters, is_tied
from parc.search.config.ffn import WIDTH, FfnSizes, find_expert_hidden, read_ffn
from parc.search.config.keys import Keys, Unreadable
from parc.search.config.layers import Layer, list_layers
from parc.search.config.mixers import find_head_dim, find_latent

LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
HIDDEN = ("hidden_size", "n_embd", "d_model")
HEADS = ("num_attention_heads", "n_head", "num_heads", "n_heads")
PAIRS = ("num_key_value_heads", "kv_n_heads", "num_kv_heads", "num_attention_groups")
NEEDED = {"layers": LAYERS, "hidden": HIDDEN, "heads": HEADS, "ffn": WIDTH, "vocab": ("vocab_size",)}
TEXT_MODELS = ("text_config", "llm_config", "language_config", "thinker_config")
OTHER_MODELS = ("vision_config", "audio_config", "speech_config", "vit_config")
BALANCE = ("router_aux_loss_coef", "aux_loss_alpha", "moe_loss_weight", "aux_loss_coef")
TOLERANCE = 0.0005  # of the parameters, by which a shape may have more than the model: norms and the like
MOST_BALANCE = 1e6
MOST_LAYERS = 10_000
LONGEST = 4096  # tokens of a sequence, where the model could take more


ShapeEntries: TypeAlias = Mapping[str, "int | bool | tuple[int, ...]"]


@dataclass(frozen=True)
class Config:
    """`shape` has the keys of the plan's block; `notes` say what is not as its figures have it."""

    shape: ShapeEntries
    balance: float = 0.0
    length: int = LONGEST
    notes: tuple[str, ...] = field(default=())


def read_config(text: str) -> Config:
    """Read the text of a `config.json`.

    Raises:
        Unreadable: it is not JSON, or lacks what a shape needs.
    """
    try:
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise Unreadable(f"it is not JSON: {fault}") from None
    if not isinstance(found, dict):
        raise Unreadable("it is not an object")
    if found.get("is_encoder_decoder") is True:
        raise Unreadable("it has an encoder and a decoder, and a shape is that of a decoder alone")
    keys = _find_text_model(found)
    keys = keys.enter("attn_config")  # DBRX
    sizes = read_ffn(keys)
    needed = {key: keys.count(*names) for key, names in NEEDED.items()}
    needed["ffn"] = sizes.width
    if needed["layers"] > MOST_LAYERS:
        raise Unreadable(f"{needed['layers']:,} layers are more than {MOST_LAYERS:,}")
    layers = list_layers(keys, needed["layers"], sizes.experts > 0)
    needed["layers"] = needed["layers"] or len(layers)
    if lacking := [f"{key} ({' or '.join(NEEDED[key])})" for key, number in needed.items() if not number]:
        raise Unreadable(f"it lacks {', '.join(lacking)}")
    counted = count_parameters(keys, sizes, layers, needed["vocab"])
    shape = _build_shape(keys, sizes, layers, needed)
    missing = counted.parameters - parameters.count_model(_build_architecture(shape))
    if missing < -TOLERANCE * counted.parameters:  # attention is smaller than a shape has it
        shape["attention_layers"] = 0
        missing = counted.parameters - parameters.count_model(_build_architecture(shape))
    if missing > 0:
        shape["other"] = missing
    more = max(0.0, -missing / counted.parameters)
    notes = (*_list_notes(layers, shape), *_list_doubts(Keys(found), keys, counted.uncounted, more))
    if sizes.experts and not sizes.top_k:
        notes = (*notes, "how many experts a token goes to is not said; 1 is assumed")
    return Config(shape, _read_balance(keys, sizes), _read_length(keys), notes)


def _find_text_model(found: dict[str, Any]) -> Keys:
    """The keys of the text model, which may be an inner object."""
    for name in TEXT_MODELS:
        if isinstance(inner := found.get(name), dict):
            kept = {key: found[key] for key in ("tie_word_embeddings",) if key in found}
            return _find_text_model({"model_type": found.get("model_type"), **inner, **kept})
    return Keys(found)


def _build_shape(
    keys: Keys, sizes: FfnSizes, layers: Sequence[Layer], needed: Mapping[str, int]
) -> dict[str, int | bool | tuple[int, ...]]:
    """What a shape can say, without keys that have no meaning for this model."""
    hidden, heads = needed["hidden"], needed["heads"]
    shape: dict[str, int | bool | tuple[int, ...]] = {
        "layers": len(layers),
        "hidden": hidden,
        "heads": heads,
    }
    if latent := find_latent(keys):
        shape["latent"] = latent
    else:
        if pairs := keys.count(*PAIRS):
            shape["kv_heads"] = pairs
        if (dim := find_head_dim(keys)) * heads != hidden:
            shape["head_dim"] = dim
    if (attention := sum(each.mixer in ("attention", "sliding") for each in layers)) < len(layers):
        shape["attention_layers"] = attention
    # Experts that work on fewer numbers of a token are as if they were narrower.
    shape["ffn"] = sizes.width * find_expert_hidden(keys, hidden) // hidden
    if sizes.experts:
        dense = [each.ffn for each in layers if each.ffn != "experts"]
        first = next((index for index, each in enumerate(layers) if each.ffn == "experts"), len(layers))
        if first < len(dense):
            shape["expert_layers"] = len(layers) - len(dense)
        elif dense:
            shape["dense_layers"] = len(dense)
        if dense:
            shape["dense_ffn"] = sizes.dense if "" not in dense else 0
        shape |= {"experts": sizes.experts, "top_k": sizes.top_k or 1}
        if sizes.shared:
            shape["shared_ffn"] = sizes.shared
    shape |= {"vocab": needed["vocab"], "gated": sizes.gated}
    if is_tied(keys):
        shape["tied"] = True
    return shape


def _build_architecture(shape: Mapping[str, Any]) -> Architecture:
    """As a plan with this shape is counted."""
    layers, heads, hidden = shape["layers"], shape["heads"], shape["hidden"]
    return Architecture(
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=shape.get("kv_heads", heads),
        head_dim=shape.get("head_dim", hidden // heads),
        ffn=shape["ffn"],
        dense_ffn=shape.get("dense_ffn", shape["ffn"]),
        vocab=shape["vocab"],
        length=1,
        gated=shape["gated"],
        experts=shape.get("experts", 0),
        top_k=shape.get("top_k", 0),
        shared_ffn=shape.get("shared_ffn", 0),
        dense_layers=shape.get("dense_layers", 0),
        tied=shape.get("tied", False),
        latent=LatentAttention(*shape["latent"]) if "latent" in shape else None,
        scattered_layers=layers - shape["expert_layers"] if "expert_layers" in shape else 0,
        no_attention=layers - shape.get("attention_layers", layers),
    )


def _list_notes(layers: Sequence[Layer], shape: Mapping[str, Any]) -> Iterator[str]:
    """What the shape has that may surprise."""
    if "expert_layers" in shape:
        dense = len(layers) - shape["expert_layers"]
        yield f"the {dense} layers without experts lie among the others; they are taken to lie evenly"
    if shape.get("attention_layers") == 0 and any(each.mixer != "linear" for each in layers):
        yield "attention is not as a shape has it; its parameters are in `other`, its scores are not counted"
    elif "attention_layers" in shape:
        without = len(layers) - shape["attention_layers"]
        yield f"{without} layers have no attention; `other` has what they have instead"


def _list_doubts(whole: Keys, keys: Keys, uncounted: int, more: float) -> Iterator[str]:
    """What is not counted, or too much, and how much that is."""
    if whole.kind != keys.kind or any(name in whole.given for name in OTHER_MODELS):
        known = [count for name in OTHER_MODELS if (count := count_encoder(whole.enter_alone(name)))]
        size = f"roughly {sum(known) / 1e6:,.0f} million parameters" if known else "an unknown number"
        yield f"only the text model is counted, not what is beside it: {size}"
    if more > TOLERANCE:
        yield f"the shape has {more:.1%} more parameters than the model"
    if uncounted:
        yield f"what {uncounted} layers have instead of attention is not known and not counted"
    if keys.kind not in KNOWN:
        name = f"the class `{keys.kind}`" if keys.kind.isidentifier() else "the class of the model"
        yield f"{name} is not known: what it has that other classes do not have is not counted"


def _read_balance(keys: Keys, sizes: FfnSizes) -> float:
    weight = keys.enter("ffn_config").find(*BALANCE)
    if not sizes.experts or isinstance(weight, bool) or not isinstance(weight, (int, float)):
        return 0.0
    return float(weight) if 0 <= weight < MOST_BALANCE else 0.0


def _read_length(keys: Keys) -> int:
    known = keys.find("max_position_embeddings", "n_positions", "max_seq_len")
    if isinstance(known, bool) or not isinstance(known, int) or known < 1:
        return LONGEST
    return min(known, LONGEST)
