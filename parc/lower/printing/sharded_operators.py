"""Operators whose code depends on how their operands are sharded."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

from parc.capture.graph import get_argument, get_name
from parc.ir.expression import call, expr, group_attribute, literal, name
from parc.ir.program import Collective, Operand, Value
from parc.ir.states import I, P, State
from parc.lower.printing.operation import Operation, to_expression
from parc.lower.printing.operators import print_operation
from parc.shard.rules.reduce import read_dims


@dataclass(frozen=True)
class Printed:
    """An expression, and the collectives that a function of the runtime issues in it."""

    tree: ast.expr
    inside: tuple[Collective, ...] = ()
    axes: tuple[str, ...] = ()  # whose groups the expression names


def print_local(op: Operation, states: Sequence[Mapping[str, State]]) -> Printed:
    """One operator as one rank computes it. `states` are those of the operands, by axis."""
    kind = get_name(op.node)
    if kind == "aten::mean":
        return _print_mean(op, states[0])
    if kind == "aten::embedding":
        return _print_embedding(op, states[0])
    if kind == "aten::cross_entropy_loss":
        return _print_cross_entropy(op, states)
    if kind.startswith("parc::grouped"):
        return Printed(call(op.name, *map(to_expression, op.args), name("counts")))
    return Printed(print_operation(op))


def _print_mean(op: Operation, states: Mapping[str, State]) -> Printed:
    """A mean over shards, which are of one size: each rank adds its own mean over the number of ranks."""
    dims, _ = read_dims(op.node, len(op.before[0]))
    axes = tuple(axis for axis, state in states.items() if state.sharded and state.dim in dims)
    own = print_operation(op)
    if not axes:
        return Printed(own)
    sizes = [expr("group.size()", group=group_attribute(axis)) for axis in axes]
    ranks = reduce(_multiply, sizes)
    return Printed(expr("own / ranks", own=own, ranks=ranks), axes=axes)


def _multiply(one: ast.expr, other: ast.expr) -> ast.expr:
    return expr("one * other", one=one, other=other)


def _print_embedding(op: Operation, weight: Mapping[str, State]) -> Printed:
    """Rows of the table lie on different ranks: each looks up its own, and zeros stand for the rest."""
    axis = next((axis for axis, state in weight.items() if state.sharded and state.dim == 0), None)
    if axis is None:
        return Printed(print_operation(op))
    padding = get_argument(op.node, "padding_idx")
    keywords = {"padding_idx": literal(padding)} if padding >= 0 else {}
    table, indices = map(to_expression, op.args[:2])
    tree = call("sharded_embedding", indices, table, group_attribute(axis), **keywords)
    return Printed(tree, axes=(axis,))


def _print_cross_entropy(op: Operation, states: Sequence[Mapping[str, State]]) -> Printed:
    vocabulary = next((axis for axis, state in states[0].items() if state.sharded and state.dim == 1), None)
    tokens = [axis for axis, state in states[0].items() if state.sharded and state.dim == 0]
    logits, labels = op.args[:2]
    reduction = ("none", "mean", "sum")[get_argument(op.node, "reduction")]
    ignored = get_argument(op.node, "ignore_index")
    ignore = {"ignore_index": literal(ignored)} if ignored != -100 else {}
    if vocabulary is None and (reduction != "mean" or not tokens):
        reduced = {"reduction": literal(reduction)} if reduction != "mean" else {}
        weight = {"weight": op.args[2]} if len(op.args) > 2 and op.args[2] is not None else {}
        smoothing = get_argument(op.node, "label_smoothing")
        smoothed = {"label_smoothing": op.number(smoothing)} if smoothing else {}
        return Printed(call("F.cross_entropy", logits, labels, **weight, **reduced, **ignore, **smoothed))
    keywords = {"reduction": literal(reduction), **ignore}
    if vocabulary:
        keywords["vocabulary"] = group_attribute(vocabulary)
    summed = tokens if reduction == "mean" else []
    if summed:
        keywords["tokens"] = ast.Tuple([group_attribute(axis) for axis in summed], ast.Load())
    inside = _list_cross_entropy_collectives(op, vocabulary, summed)
    axes = tuple(collective.axis for collective in inside)
    return Printed(call("cross_entropy", logits, labels, **keywords), inside, axes)


def _list_cross_entropy_collectives(
    op: Operation, vocabulary: str | None, tokens: Sequence[str]
) -> tuple[Collective, ...]:
    """The reductions of `cross_entropy`, in its order: maximum, sum and label's logit, valid tokens."""
    rows = op.sizes.evaluate(op.before[0][0])
    logits = op.node.args[0]
    dtype = str(logits.meta["val"].dtype)  # type: ignore[union-attr]
    found = []
    if vocabulary:
        largest, parts = Value("largest", (rows,), dtype), Value("parts", (2, rows), dtype)
        found += [
            Collective(
                largest, Operand.of(largest), "all_reduce", P, I, vocabulary, grad=False, reduction="max"
            ),
            Collective(parts, Operand.of(parts), "all_reduce", P, I, vocabulary, grad=False),
        ]
    for axis in tokens:
        count = Value("valid", (), "torch.int64")
        found.append(Collective(count, Operand.of(count), "all_reduce", P, I, axis, grad=False))
    return tuple(found)
