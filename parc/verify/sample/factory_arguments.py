"""Which arguments of a model's factory say what its `shape` says, by name and by value."""

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
}
"""What arguments are called that say so, without `n_` or `num_` before it."""

MOST = 32  # ways of reading the arguments that are tried
LEAST = 3  # a smaller number equals others by chance

Arguments = Mapping[str, Argument]


def readings(
    given: Arguments, before: Mapping[str, int], after: Mapping[str, int], kept: Sequence[int]
) -> Iterator[dict[str, Argument]]:
    """The arguments of a model whose shape was `before` and is to be `after`, the likeliest ones first.

    An argument whose name and value say what it is becomes that. One of another name may be any size of its
    value that nothing claims, twice the feed-forward width, all heads together, or none of these. A list of
    an entry a layer keeps those of the layers `kept`.
    """
    named = {name: key for name, value in given.items() if (key := _named(name, value, before))}
    free = {key: size for key, size in before.items() if key not in named.values() and size >= LEAST}
    free |= _made_of(before)
    now = {**after, **_made_of(after)}
    choices = [_choices(name, value, named, free, now) for name, value in given.items()]
    for chosen in islice(product(*choices), MOST):
        values = zip(given, chosen, strict=True)
        yield {name: _listed(value, before.get("layers"), kept) for name, value in values}


def _named(name: str, value: Argument, before: Mapping[str, int]) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    plain = name.lower().removeprefix("n_").removeprefix("num_")
    return next((key for key, size in before.items() if size == value and plain in NAMES.get(key, ())), None)


def _made_of(sizes: Mapping[str, int]) -> dict[str, int]:
    """Sizes that follow from others."""
    found = {}
    if "ffn" in sizes:
        found["2 x ffn"] = 2 * sizes["ffn"]
    for heads in ("heads", "kv_heads"):
        if heads in sizes and "head_dim" in sizes:
            found[f"{heads} x head_dim"] = sizes[heads] * sizes["head_dim"]
    return {key: size for key, size in found.items() if size not in sizes.values()}


def _choices(
    name: str, value: Argument, named: Mapping[str, str], free: Mapping[str, int], after: Mapping[str, int]
) -> list[Argument]:
    if name in named:
        return [after[named[name]]]
    if not isinstance(value, int) or isinstance(value, bool):
        return [value]
    equal = [after[key] for key, size in free.items() if size == value and key in after]
    return list(dict.fromkeys([*equal, value]))


def _listed(value: Argument, layers: int | None, kept: Sequence[int]) -> Argument:
    if isinstance(value, tuple) and len(value) == layers:
        return tuple(value[layer] for layer in kept)
    return value
