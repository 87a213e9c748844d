"""The shape of a file: its symbols, what folds, what a selection grows to, where links lead."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from parc.lsp.document.analysis import Analysis, imports
from parc.source import Span
from parc.syntax import tree

COMMENTS = re.compile(r"^[ \t]*#[^\n]*(?:\n[ \t]*#[^\n]*)+", re.M)


class Outlined(NamedTuple):
    """`span` is the whole statement, `name` the characters that name it."""

    kind: str
    label: str
    detail: str
    span: Span
    name: Span
    inside: tuple[Outlined, ...] = ()


def symbols(analysis: Analysis) -> tuple[Outlined, ...]:
    return tuple(_outlined(analysis, analysis.file.statements))


def _outlined(analysis: Analysis, statements: tuple[tree.Statement, ...]) -> Iterator[Outlined]:
    for statement in statements:
        span = analysis.whole(statement.span)
        match statement:
            case tree.Block():
                name = statement.label or statement.kind
                body = statement.body.statements if statement.body else ()
                detail = _head(analysis, statement)
                inside = tuple(_outlined(analysis, body))
                kind = statement.kind.text
                yield Outlined(kind, name.text, detail, span, analysis.whole(name.span), inside)
            case tree.Let():
                at = analysis.whole(statement.name.span)
                yield Outlined("let", statement.name.text, _short(analysis, statement.value), span, at)
            case tree.Assignment():
                at = analysis.whole(statement.path.span)
                yield Outlined("key", statement.path.text, _short(analysis, statement.value), span, at)
            case tree.Claim():
                at = analysis.whole(statement.path.span)
                detail = f"{statement.relation} {_short(analysis, statement.value)}"
                yield Outlined("claim", statement.path.text, detail, span, at)


def _head(analysis: Analysis, block: tree.Block) -> str:
    """All of a block before its body."""
    end = block.body.span.start if block.body else block.span.end
    return " ".join(analysis.whole(block.span._replace(end=end)).text.split())


def _short(analysis: Analysis, node: tree.Node) -> str:
    text = " ".join(analysis.whole(node.span).text.split())
    return text if len(text) <= 40 else f"{text[:38]} .."


def foldings(analysis: Analysis) -> Iterator[tuple[int, int, bool]]:
    """First and last line, 0-based, and whether it is a comment."""
    for node in _nodes(analysis.file.statements):
        if isinstance(node, tree.Body | tree.List):
            span = analysis.whole(node.span)
            if span.last_line - 1 > span.line:
                yield span.line - 1, span.last_line - 2, False
    for match in COMMENTS.finditer(analysis.source.text):
        span = analysis.source.span(match.start(), match.end())
        yield span.line - 1, span.last_line - 1, True


def selections(analysis: Analysis, offset: int) -> list[Span]:
    """What the selection at the offset grows to, innermost first; the whole file last."""
    spans = {analysis.source.span(0, len(analysis.source.text))}
    for node in _nodes(analysis.file.statements):
        if analysis.covers(node, offset):
            spans.add(analysis.whole(node.span))
    return sorted(spans, key=lambda span: (span.end - span.start, span.start))


def links(analysis: Analysis) -> Iterator[tuple[Span, Path]]:
    """The files that the text names: imports, and the source of a model where that is a file."""
    for name, path in imports(analysis.key, analysis.file):
        yield from _link(analysis, name.span, path)
    for node in _nodes(analysis.file.statements):
        match node:
            case tree.Assignment(value=tree.String() as name) if node.path.text == "source":
                file = name.value.partition(":")[0]
                if file.endswith(".py"):
                    yield from _link(analysis, name.span, analysis.path.parent / file)


def _link(analysis: Analysis, span: Span, path: Path) -> Iterator[tuple[Span, Path]]:
    whole = analysis.whole(span)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that is too long, a null character
        return
    if there:
        yield Span(whole.source, whole.start + 1, whole.end - 1), path.resolve()


def _nodes(statements: tuple[tree.Statement, ...]) -> Iterator[tree.Node | tree.Body]:
    """Every node that has a span, outer ones first."""
    waiting: list[object] = list(reversed(statements))
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            if isinstance(getattr(node, "span", None), Span):
                yield node  # type: ignore[misc]  # what has a span is a node
            waiting.extend(each for each in reversed(node) if not isinstance(each, Span))
