"""Candidate layouts of a model on a cluster: all that divide evenly, with tensor groups within a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd
from typing import NamedTuple


class Layout(NamedTuple):
    """Sizes of the axes, outermost first, and what goes with them."""

    pp: int
    dp: int
    ep: int
    tp: int
    microbatches: int
    shard: str = "none"
    recompute: str = "none"


def list_layouts(
    shape: Mapping[str, int | bool], devices: int, node: int, sequences: int, length: int
) -> Iterator[Layout]:
    """`shape` as the plan's block has it; `node` devices share the fastest links."""
    layers, experts = int(shape["layers"]), int(shape.get("experts", 1))
    heads = gcd(int(shape["heads"]), int(shape.get("kv_heads", shape["heads"])))
    split = gcd(gcd(heads, length), gcd(gcd(int(shape["ffn"]), int(shape["vocab"])), int(shape["hidden"])))
    for key in ("dense_ffn", "shared_ffn"):
        split = gcd(split, int(shape.get(key, 0)))
    for tp in _list_divisors(gcd(split, node)):
        for pp in _list_divisors(gcd(layers, devices // tp) if devices % tp == 0 else 0):
            rest = devices // tp // pp
            for ep in _list_divisors(gcd(experts, rest)):
                each, over = divmod(sequences, rest)
                for microbatches in _list_microbatches(each, pp) if not over else ():
                    yield Layout(pp, rest // ep, ep, tp, microbatches)


def _list_divisors(number: int) -> list[int]:
    return [each for each in range(1, number + 1) if number % each == 0]


def _list_microbatches(each: int, stages: int) -> list[int]:
    """Into how many microbatches a data rank's sequences may be divided: the last few, for small bubbles."""
    fitting = [count for count in _list_divisors(each) if stages == 1 or count >= 2 * stages]
    few = [count for count in fitting if count <= 16 * stages]
    return (few or fitting)[-3:]
