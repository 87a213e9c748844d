"""Operators whose text depends on how their operands are sharded."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parc.capture.graph import argument, name_of
from parc.ir.program import Collective, Value
from parc.ir.states import I, P, State
from parc.lower.expression import PRODUCT, Text, Written, literal
from parc.shard.rules.reduce import dims_of


@dataclass(frozen=True)
class Special:
    """A text, and the moves that a function of the runtime makes in it."""

    text: Text
    inside: tuple[Collective, ...] = ()
    axes: tuple[str, ...] = ()  # whose groups the text names


def parallel_text(
    written: Written, shapes: Sequence[tuple[int, ...]], states: Sequence[Mapping[str, State]]
) -> Special | None:
    """The text of an operator that must know of its shards; None for all others.

    `shapes` are global, `states` those of the operands by axis.
    """
    name = name_of(written.node)
    if name == "aten::mean":
        return _mean(written, shapes[0], states[0])
    if name == "aten::embedding":
        return _embedding(written, states[0])
    if name == "aten::cross_entropy_loss":
        return _cross_entropy(written, states)
    if name.startswith("parc::grouped"):
        arguments = ", ".join(literal(value).text for value in written.args)
        return Special(Text(f"{name.removeprefix('parc::')}({arguments}, counts)"))
    return None


def _mean(written: Written, shape: tuple[int, ...], states: Mapping[str, State]) -> Special | None:
    """A mean over shards: what this rank adds, over the size of the whole."""
    dims, keep = dims_of(written.node.args[1:], written.node.kwargs, len(shape))
    if not any(state.sharded and state.dim in dims for state in states.values()):
        return None
    count = math.prod(shape[dim] for dim in dims)
    over = (
        []
        if len(dims) == len(shape)
        else [str(dims[0]) if len(dims) == 1 else f"({', '.join(map(str, dims))})"]
    )
    dtype = written.node.kwargs.get("dtype")
    named = [*(["keepdim=True"] if keep else []), *([f"dtype={dtype}"] if dtype is not None else [])]
    total = written.method("sum", *over, *named)
    return Special(Text(f"{total.text} / {count}", PRODUCT))


def _embedding(written: Written, weight: Mapping[str, State]) -> Special | None:
    """Rows of the table lie on different ranks: each looks up its own, and zeros stand for the rest."""
    axis = next((axis for axis, state in weight.items() if state.sharded and state.dim == 0), None)
    if axis is None:
        return None
    table, indices = (literal(value).text for value in written.args[:2])
    padding = argument(written.node, "padding_idx")
    rest = f", padding_idx={padding}" if padding >= 0 else ""
    return Special(Text(f"sharded_embedding({indices}, {table}, self.{axis}{rest})"), axes=(axis,))


def _cross_entropy(written: Written, states: Sequence[Mapping[str, State]]) -> Special | None:
    vocabulary = next((axis for axis, state in states[0].items() if state.sharded and state.dim == 1), None)
    tokens = [axis for axis, state in states[0].items() if state.sharded and state.dim == 0]
    arguments = (*written.args, *(None, 1, -100)[len(written.args) - 2 :])
    reduction = ("none", "mean", "sum")[arguments[3]]
    if vocabulary is None and (reduction != "mean" or not tokens):
        ignore = [f"ignore_index={arguments[4]}"] if arguments[4] != -100 else []
        reduced = [f'reduction="{reduction}"'] if reduction != "mean" else []
        texts = [literal(value).text for value in arguments[:2]]
        return Special(Text(f"F.cross_entropy({', '.join([*texts, *reduced, *ignore])})"))
    texts = [literal(value).text for value in arguments[:2]]
    texts.append(f'reduction="{reduction}"')
    if arguments[4] != -100:
        texts.append(f"ignore_index={arguments[4]}")
    if vocabulary:
        texts.append(f"vocabulary=self.{vocabulary}")
    if tokens and reduction == "mean":
        texts.append(f"tokens=({', '.join(f'self.{axis}' for axis in tokens)},)")
    inside = _cross_entropy_moves(written, vocabulary, tokens if reduction == "mean" else [])
    return Special(Text(f"cross_entropy({', '.join(texts)})"), inside, tuple(move.axis for move in inside))


def _cross_entropy_moves(
    written: Written, vocabulary: str | None, tokens: Sequence[str]
) -> tuple[Collective, ...]:
    """The reductions of `cross_entropy`, in its order: maximum, sum and label's logit, valid tokens."""
    rows = written.before[0][0]
    dtype = str(written.node.args[0].meta["val"].dtype)  # type: ignore[union-attr]
    moves = []
    if vocabulary:
        largest, parts = Value("largest", (rows,), dtype), Value("parts", (2, rows), dtype)
        moves += [
            Collective(largest, largest, "all_reduce", P, I, vocabulary, grad=False, reduction="max"),
            Collective(parts, parts, "all_reduce", P, I, vocabulary, grad=False),
        ]
    for axis in tokens:
        count = Value("valid", (), "torch.int64")
        moves.append(Collective(count, count, "all_reduce", P, I, axis, grad=False))
    return tuple(moves)
