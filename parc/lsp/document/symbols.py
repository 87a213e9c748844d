"""The names in a statement: blocks, constants, axes and levels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from parc.plan.schema import TOP
from parc.plan.schema.form import Form
from parc.plan.subjects import STRATEGIES
from parc.source import Span
from parc.syntax import tree


class Symbol(NamedTuple):
    """What a name stands for."""

    kind: str  # of a top-level block, or "let", "axis" or "level"
    name: str
    block: str = ""  # the top-level block that has the axis or the level


Named: TypeAlias = tuple[Symbol, Span, bool]
"""A symbol, the span of its name, and whether the name is defined there."""


def list_symbols(statement: tree.Statement) -> Iterator[Named]:
    """Every name in a top-level statement, in order."""
    match statement:
        case tree.Let():
            yield Symbol("let", statement.name.text), statement.name.span, True
            yield from _read_constants(statement.value)
        case tree.Block():
            kind = statement.kind.text
            label = statement.label.text if statement.label else ""
            if statement.label and kind != "launch":
                yield Symbol(kind, label), statement.label.span, True
            if statement.purpose:
                target = "plan" if kind == "launch" else "train"
                yield Symbol(target, statement.purpose.text), statement.purpose.span, False
            if statement.place:
                yield Symbol("cluster", statement.place.text), statement.place.span, False
            if statement.body and (form := TOP.get(kind)):
                cluster = statement.place.text if statement.place else ""
                yield from _read_body(statement.body, form, f"{kind} {label}", f"cluster {cluster}")


def _read_body(body: tree.Body, form: Form, block: str, cluster: str = "") -> Iterator[Named]:
    """`block` is the top-level block; `cluster` is that of a plan."""
    for statement in body.statements:
        match statement:
            case tree.Assignment():
                yield from _read_assignment(statement, form, block)
            case tree.Claim():
                yield from _read_constants(statement.path)
                yield from _read_levels(statement.path, cluster)
                yield from _read_constants(statement.value)
            case tree.Block():
                if statement.kind.text == "link" and statement.label:
                    yield Symbol("level", statement.label.text, block), statement.label.span, False
                if statement.over:
                    yield from _read_axes(statement.over, block)
                if statement.body and (inner := form.find_block(statement.kind.text)):
                    yield from _read_body(statement.body, inner, block, cluster)


def _read_levels(subject: tree.Path, cluster: str) -> Iterator[Named]:
    """A subject such as `experts.nodes` names the level `node`."""
    strategy, *rest = subject.names
    if strategy.text in STRATEGIES and len(rest) == 1 and rest[0].text.endswith("s"):
        (units,) = rest
        span = units.span._replace(end=units.span.end - 1)
        yield Symbol("level", units.text[:-1], cluster), span, False


def _read_assignment(statement: tree.Assignment, form: Form, block: str) -> Iterator[Named]:
    key, value = form.find_key(statement.path.text), statement.value
    match value:
        case tree.Path() if key and key.kind == "block":
            yield Symbol(key.name, value.text), value.span, False
        case tree.List() if key and key.kind == "axes":
            yield from _read_axes(value, block)
        case tree.List() if key and key.kind == "sizes":
            kind = "axis" if key.name == "mesh" else "level"
            for item in value.items:
                if isinstance(item, tree.Pair):
                    yield Symbol(kind, item.name.text, block), item.name.span, True
                    yield from _read_constants(item.value)
        case tree.Configured():
            inner = form.find_block(value.name.text)
            yield from _read_body(value.body, inner or form, block)
        case _:
            yield from _read_constants(value)


def _read_axes(axes: tree.List, block: str) -> Iterator[Named]:
    for item in axes.items:
        if isinstance(item, tree.Path):
            yield Symbol("axis", item.text, block), item.span, False


def _read_constants(node: tree.Expression | tree.Named | tree.Pair) -> Iterator[Named]:
    """The words of a value, any of which may be a constant."""
    match node:
        case tree.Path():
            yield Symbol("let", node.text), node.span, False
        case tree.Negation() | tree.Named() | tree.Pair():
            yield from _read_constants(node.value)
        case tree.Chain():
            yield from _read_constants(node.first)
            for _, operand in node.rest:
                yield from _read_constants(operand)
        case tree.List():
            for item in node.items:
                yield from _read_constants(item)
        case tree.Call():
            for argument in node.arguments:
                yield from _read_constants(argument)
