"""A model's `shape` from its Hugging Face `config.json`.

One table lists the names that model families use for the same number. Other families are read as well, if
they use these names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "hidden": ("hidden_size", "n_embd", "d_model"),
    "heads": ("num_attention_heads", "n_head", "num_heads"),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "ffn": ("moe_intermediate_size", "intermediate_size", "n_inner", "ffn_dim"),
    "shared_ffn": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "dense_layers": ("first_k_dense_replace",),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "top_k": ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k"),
    "vocab": ("vocab_size",),
}
NEEDED = ("layers", "hidden", "heads", "ffn", "vocab")
UNGATED = ("gpt2", "gpt_neox", "opt", "bloom", "phi", "gptj", "switch_transformers")
BALANCE = ("router_aux_loss_coef", "aux_loss_alpha")
LONGEST = 4096  # tokens of a sequence, where the model could take more


class Unreadable(Exception):
    """What is wrong with a configuration, in words for the user."""


@dataclass(frozen=True)
class Config:
    """`shape` has the keys of the plan's block; `notes` say what it leaves out."""

    shape: Mapping[str, int | bool]
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
    given = found.get("text_config", found) if isinstance(found, dict) else found
    if not isinstance(given, dict):
        raise Unreadable("it is not an object")
    shape: dict[str, int | bool] = {}
    for key, names in NAMES.items():
        number = next((given[name] for name in names if given.get(name) is not None), None)
        if number is None:
            continue
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**53:
            raise Unreadable(f"`{key}` is a whole number, not {number!r}")
        shape[key] = number
    if lacking := [f"{key} ({' or '.join(NAMES[key])})" for key in NEEDED if not shape.get(key)]:
        raise Unreadable(f"it lacks {', '.join(lacking)}")
    return Config(_complete_shape(shape, given), *_read_rest(shape, given))


def _complete_shape(shape: dict[str, int | bool], given: Mapping[str, Any]) -> dict[str, int | bool]:
    """The shape with what follows from several keys, and without keys that have no meaning."""
    if shared := _read_count(given, "n_shared_experts"):
        shape.setdefault("shared_ffn", shared * int(shape["ffn"]))
    if not shape.get("experts"):
        for key in ("experts", "top_k", "shared_ffn", "dense_layers"):
            shape.pop(key, None)
        shape["ffn"] = _read_count(given, "intermediate_size") or shape["ffn"]
    elif shape.get("dense_layers") and (dense := _read_count(given, "intermediate_size")):
        shape["dense_ffn"] = dense
    if shape.get("head_dim") in (None, int(shape["hidden"]) // int(shape["heads"])):
        shape.pop("head_dim", None)
    shape["gated"] = given.get("model_type") not in UNGATED
    return {key: value for key, value in shape.items() if value or key == "gated"}


def _read_rest(
    shape: Mapping[str, int | bool], given: Mapping[str, Any]
) -> tuple[float, int, tuple[str, ...]]:
    balance = next((given[name] for name in BALANCE if isinstance(given.get(name), (int, float))), 0.0)
    length = _read_count(given, "max_position_embeddings") or _read_count(given, "n_positions") or LONGEST
    notes = []
    if given.get("kv_lora_rank"):
        notes.append("its latent attention is counted as plain attention, so its figures are rough")
    if given.get("mlp_only_layers") or given.get("decoder_sparse_step", 1) != 1:
        notes.append("layers without experts among others are counted as layers with experts")
    if given.get("tie_word_embeddings"):
        notes.append("its head shares the weights of the embedding, which are counted twice here")
    return (float(balance) if shape.get("experts") else 0.0), min(length, LONGEST), tuple(notes)


def _read_count(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
