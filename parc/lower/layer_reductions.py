"""Layers that yield a term of a sum make the sum themselves, where nothing else reads the term."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

from parc.ir.expression import Expression, attribute, expr, name
from parc.ir.program import Collective, Compute, Event, Operand, Unit
from parc.ir.walk import (
    flatten,
    list_bound_names,
    list_event_expressions,
    list_expressions,
    rewrite_event,
    rewrite_operand,
)

_TERMS = ("RowLinear", "VocabEmbedding")  # the layers that yield a term of a sum
_METADATA = ("new_zeros", "new_ones", "new_full", "new_empty", "device", "dtype")


@dataclass(frozen=True)
class _Reduction:
    """The call of a layer, and the collective that makes a sum of its result, by their places."""

    first: int
    call: Compute
    last: int
    sum: Collective


def reduce_in_layers(unit: Unit) -> Unit:
    """The unit, with the reductions that layers of it can make; a bias is added to the sum.

    A layer with a bias that cannot make its sum is left as it is.
    """
    for path, constructor in unit.layers.items():
        tree = constructor.tree
        if isinstance(tree, ast.Call) and ast.unparse(tree.func) in _TERMS:
            unit = _reduce_in_layer(unit, path, tree)
    return unit


def adds_bias_to_term(constructor: Expression) -> bool:
    """Whether a layer has a bias, but leaves the sum to its caller: it would be added on every rank."""
    tree = constructor.tree
    keywords = {keyword.arg for keyword in tree.keywords} if isinstance(tree, ast.Call) else set()
    return ast.unparse(tree).startswith("RowLinear(") and "bias" in keywords and "dst" not in keywords


def _reduce_in_layer(unit: Unit, path: str, constructor: ast.Call) -> Unit:
    found = _find_reduction(unit, path)
    if found is None:
        return unit
    between, after = unit.events[found.first + 1 : found.last], unit.events[found.last + 1 :]
    results = unit.results
    held = found.sum.result
    read_once = len(_list_reads((*between, *after), results, held.name)) == 1
    temporary = read_once and held.name == path.rpartition(".")[2]  # no name of the user's
    if any(parameter.path == f"{path}.bias" for parameter in unit.parameters):
        biased = expr("total + bias", total=name(held.name), bias=attribute(f"{path}.bias"))
        if not read_once or not _adds_bias(unit, path, biased, after, results):
            return unit
        remove = partial(_replace_tree, old=biased, new=name(held.name))
        after = tuple(rewrite_event(event, remove) for event in after)
        results = tuple(rewrite_operand(result, remove) for result in results)
        temporary = True
    value = found.call.value
    moved = replace(found.sum, operand=replace(found.sum.operand, expression=value))
    call = Compute((held,), value, (*found.call.inside, moved), temporary)
    renaming = after[0] if after and not between else None
    if isinstance(renaming, Compute) and _is_same(renaming.value.tree, name(held.name)):
        call = replace(call, results=renaming.results, temporary=renaming.temporary)
        after = after[1:]
    keywords = [ast.keyword("dst", expr(str(found.sum.dst))), *constructor.keywords]
    layer = Expression(ast.Call(constructor.func, constructor.args, keywords))
    return replace(
        unit,
        events=(*unit.events[: found.first], call, *between, *after),
        results=results,
        layers={**unit.layers, path: layer},
    )


def _find_reduction(unit: Unit, path: str) -> _Reduction | None:
    """The sum of what a layer yields, if the layer is called once and nothing else reads its result."""
    function = attribute(path)
    calls = [
        node
        for expression in list_expressions(unit)
        for node in ast.walk(expression.tree)
        if isinstance(node, ast.Call) and _is_same(node.func, function)
    ]
    places = [place for place, event in enumerate(unit.events) if _is_call(event, function)]
    if len(calls) != 1 or len(places) != 1:
        return None
    (first,) = places
    call = unit.events[first]
    assert isinstance(call, Compute)
    term = call.results[0].name
    for last, event in enumerate(unit.events[first + 1 :], first + 1):
        if isinstance(event, Collective):
            same = event.result.name == term
            alone = same or not _list_reads(unit.events[last + 1 :], unit.results, term)
            reads = event.src.partial and _is_same(event.operand.expression.tree, name(term))
            if not (reads and alone and (same or last == first + 1)):
                return None
            return _Reduction(first, call, last, event)
        if not isinstance(event, Compute) or event.inside or not _reads_metadata_alone(event, term):
            return None
    return None


def _is_call(event: Event, function: ast.expr) -> bool:
    tree = event.value.tree if isinstance(event, Compute) else None
    return isinstance(tree, ast.Call) and _is_same(tree.func, function)


def _reads_metadata_alone(event: Compute, variable: str) -> bool:
    """Whether an event leaves a variable as it is and reads no element of it."""
    owners = [
        node.value
        for node in ast.walk(event.value.tree)
        if isinstance(node, ast.Attribute) and node.attr in _METADATA
    ]
    reads = [node for node in ast.walk(event.value.tree) if _is_same(node, name(variable))]
    bound = {result.name for result in event.results}
    return variable not in bound and all(any(read is owner for owner in owners) for read in reads)


def _adds_bias(
    unit: Unit, path: str, biased: ast.expr, after: Sequence[Event], results: Sequence[Operand]
) -> bool:
    """Whether a layer's bias is read in `biased` alone, and that is evaluated once."""
    bias = attribute(f"{path}.bias")
    everywhere = [node for each in list_expressions(unit) for node in ast.walk(each.tree)]
    (variable,) = (node.id for node in ast.walk(biased) if isinstance(node, ast.Name) and node.id != "self")
    sums = [node for tree in _list_live(after, results, variable) for node in ast.walk(tree)]
    return (
        sum(_is_same(node, bias) for node in everywhere) == 1
        and sum(_is_same(node, biased) for node in sums) == 1
    )


def _list_reads(events: Sequence[Event], results: Sequence[Operand], variable: str) -> list[ast.AST]:
    """The places that read a variable before another value is bound to it."""
    live = _list_live(events, results, variable)
    return [node for tree in live for node in ast.walk(tree) if _is_same(node, name(variable))]


def _list_live(events: Sequence[Event], results: Sequence[Operand], variable: str) -> Iterator[ast.expr]:
    """The expressions that are evaluated before another value is bound to a variable."""
    for event in flatten(events):
        yield from (expression.tree for expression in list_event_expressions(event))
        if variable in list_bound_names(event):
            return
    yield from (result.expression.tree for result in results)


def _replace_tree(expression: Expression, *, old: ast.expr, new: ast.expr) -> Expression:
    return Expression(_TreeReplacer(old, new).visit(deepcopy(expression.tree)))


class _TreeReplacer(ast.NodeTransformer):
    def __init__(self, old: ast.expr, new: ast.expr) -> None:
        self.old, self.new = old, new

    def generic_visit(self, node: ast.AST) -> ast.AST:
        return self.new if _is_same(node, self.old) else super().generic_visit(node)


def _is_same(one: ast.AST, other: ast.AST) -> bool:
    return type(one) is type(other) and ast.dump(one) == ast.dump(other)
