"""Candidate layouts of a model on a cluster: all that divide evenly, with tensor groups within a node.

Stages of a pipeline may differ by a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import gcd
from typing import Any, NamedTuple


class CandidateLayout(NamedTuple):
    """Sizes of the axes, outermost first, and what goes with them."""

    pp: int
    dp: int
    ep: int
    tp: int
    microbatches: int
    split_experts: bool = False  # over `tp`, as all else


def list_layouts(
    shape: Mapping[str, Any], devices: int, node: int, sequences: int, length: int
) -> Iterator[CandidateLayout]:
    """`shape` as the plan's block has it; `node` devices share the fastest links."""
    layers, experts = int(shape["layers"]), int(shape.get("experts", 1))
    heads = gcd(int(shape["heads"]), int(shape.get("kv_heads", shape["heads"])))
    split = gcd(gcd(heads, length), gcd(gcd(int(shape["ffn"]), int(shape["vocab"])), int(shape["hidden"])))
    for key in ("dense_ffn", "shared_ffn"):
        split = gcd(split, int(shape.get(key, 0)))
    for tp in _list_divisors(gcd(split, node)):
        for pp in _list_divisors(devices // tp if devices % tp == 0 else 0, layers):
            rest = devices // tp // pp
            for ep in _list_divisors(gcd(experts, rest)):
                each, over = divmod(sequences, rest)
                for microbatches in _list_microbatches(each, pp) if not over else ():
                    for split_experts in (False, True) if ep > 1 and tp > 1 else (False,):
                        yield CandidateLayout(pp, rest // ep, ep, tp, microbatches, split_experts)


def _list_divisors(number: int, most: int | None = None) -> list[int]:
    return [each for each in range(1, min(number, most or number) + 1) if number % each == 0]


def _list_microbatches(each: int, stages: int) -> list[int]:
    """Into how many microbatches a data rank's sequences may be divided: the last few, for small bubbles."""
    fitting = [count for count in _list_divisors(each) if stages == 1 or count >= 2 * stages]
    few = [count for count in fitting if count <= 16 * stages]
    return (few or fitting)[-3:]
