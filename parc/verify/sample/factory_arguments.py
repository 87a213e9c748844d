"""Which arguments of a model's factory are sizes of its `shape`, by name and by value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product

from parc.plan.blocks import Argument

NAMES: Mapping[str, tuple[str, ...]] = {
    "layers": ("layers", "layer", "hidden_layers", "depth", "blocks"),
    "dense_layers": ("dense_layers", "first_k_dense_replace"),
    "hidden": ("hidden", "hidden_size", "dim", "d_model", "model_dim", "width", "embd", "embed_dim"),
    "heads": ("heads", "head", "attention_heads"),
    "kv_heads": ("kv_heads", "key_value_heads"),
    "head_dim": ("head_dim", "d_head", "head_size"),
    "ffn": ("ffn", "ffn_dim", "d_ff", "inner", "intermediate_size", "moe_intermediate_size", "moe_ffn"),
    "dense_ffn": ("dense_ffn", "intermediate_size"),
    "shared_ffn": ("shared_ffn", "shared_expert_intermediate_size"),
    "experts": ("experts", "local_experts", "routed_experts"),
    "top_k": ("top_k", "topk", "k", "experts_per_tok", "experts_per_token"),
    "vocab": ("vocab", "vocab_size", "vocabulary", "symbols"),
    "length": (
        *("length", "max_length", "seq_len", "max_seq_len", "sequence_length", "max_sequence_length"),
        *("context", "context_length", "block_size", "max_position_embeddings", "positions", "max_positions"),
    ),
}
"""Usual names of the arguments, without the prefix `n_` or `num_`."""

MAX_READINGS = 32  # that are tried
MIN_SIZE = 3  # a smaller number equals others by chance

Arguments = Mapping[str, Argument]


def iterate_arguments(
    given: Arguments, before: Mapping[str, int], after: Mapping[str, int], kept: Sequence[int]
) -> Iterator[dict[str, Argument]]:
    """The arguments for a shape of sizes `after`, where `given` are those of `before`; the likeliest first.

    An argument whose name and value identify a size becomes the new size. An argument of another name may be
    any size of its value that no other argument is, twice the feed-forward width, all heads together, or none
    of these. A list with an entry for each layer keeps the entries of the layers `kept`.
    """
    named = {name: key for name, value in given.items() if (key := _identify(name, value, before))}
    free = {key: size for key, size in before.items() if key not in named.values() and size >= MIN_SIZE}
    free |= _derive_sizes(before)
    now = {**after, **_derive_sizes(after)}
    choices = [
        [now[named[name]]] if name in named else _list_candidates(value, free, now)
        for name, value in given.items()
    ]
    for chosen in islice(product(*choices), MAX_READINGS):
        values = zip(given, chosen, strict=True)
        yield {name: _cut_list(value, before.get("layers"), kept) for name, value in values}


def _identify(name: str, value: Argument, before: Mapping[str, int]) -> str | None:
    """The size that an argument is, by its name and value."""
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    plain = name.lower().removeprefix("n_").removeprefix("num_")
    return next((key for key, size in before.items() if size == value and plain in NAMES.get(key, ())), None)


def _derive_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes that follow from others."""
    found = {}
    if "ffn" in sizes:
        found["2 x ffn"] = 2 * sizes["ffn"]
    for heads in ("heads", "kv_heads"):
        if heads in sizes and "head_dim" in sizes:
            found[f"{heads} x head_dim"] = sizes[heads] * sizes["head_dim"]
    return {key: size for key, size in found.items() if size not in sizes.values()}


def _list_candidates(value: Argument, free: Mapping[str, int], after: Mapping[str, int]) -> list[Argument]:
    """The values that an argument of an unknown name may become."""
    if not isinstance(value, int) or isinstance(value, bool):
        return [value]
    equal = [after[key] for key, size in free.items() if size == value and key in after]
    return list(dict.fromkeys([*equal, value]))


def _cut_list(value: Argument, layers: int | None, kept: Sequence[int]) -> Argument:
    if isinstance(value, tuple) and len(value) == layers:
        return tuple(value[layer] for layer in kept)
    return value
