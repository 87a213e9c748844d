"""The outline of a file: symbols, folding ranges, selection ranges, links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from parc.lsp.document.analysis import Analysis, list_imports
from parc.source import Span
from parc.syntax import tree

COMMENTS = re.compile(r"^[ \t]*#[^\n]*(?:\n[ \t]*#[^\n]*)+", re.M)


class OutlineItem(NamedTuple):
    kind: str
    label: str
    detail: str
    span: Span  # of the whole statement
    name: Span  # of its name alone
    children: tuple[OutlineItem, ...] = ()


def outline_file(analysis: Analysis) -> tuple[OutlineItem, ...]:
    """The top-level statements of the file, each with the statements inside it."""
    return tuple(_outline(analysis, analysis.file.statements))


def _outline(analysis: Analysis, statements: tuple[tree.Statement, ...]) -> Iterator[OutlineItem]:
    for statement in statements:
        span = analysis.locate(statement.span)
        match statement:
            case tree.Block():
                name = statement.label or statement.kind
                body = statement.body.statements if statement.body else ()
                detail = _format_head(analysis, statement)
                inside = tuple(_outline(analysis, body))
                kind = statement.kind.text
                yield OutlineItem(kind, name.text, detail, span, analysis.locate(name.span), inside)
            case tree.Let():
                at = analysis.locate(statement.name.span)
                yield OutlineItem("let", statement.name.text, _shorten(analysis, statement.value), span, at)
            case tree.Assignment():
                at = analysis.locate(statement.path.span)
                yield OutlineItem("key", statement.path.text, _shorten(analysis, statement.value), span, at)
            case tree.Claim():
                at = analysis.locate(statement.path.span)
                detail = f"{statement.relation} {_shorten(analysis, statement.value)}"
                yield OutlineItem("claim", statement.path.text, detail, span, at)


def _format_head(analysis: Analysis, block: tree.Block) -> str:
    """The text of a block before its body."""
    end = block.body.span.start if block.body else block.span.end
    return " ".join(analysis.locate(block.span._replace(end=end)).text.split())


def _shorten(analysis: Analysis, node: tree.Node) -> str:
    text = " ".join(analysis.locate(node.span).text.split())
    return text if len(text) <= 40 else f"{text[:38]} .."


def list_foldings(analysis: Analysis) -> Iterator[tuple[int, int, bool]]:
    """For each range its first and last line, 0-based, and whether it is a comment."""
    for node in _list_nodes(analysis.file.statements):
        if isinstance(node, tree.Body | tree.List):
            span = analysis.locate(node.span)
            if span.last_line - 1 > span.line:
                yield span.line - 1, span.last_line - 2, False
    for match in COMMENTS.finditer(analysis.source.text):
        span = analysis.source.make_span(match.start(), match.end())
        yield span.line - 1, span.last_line - 1, True


def list_selections(analysis: Analysis, offset: int) -> list[Span]:
    """The spans that a selection at the offset expands to, innermost first, the whole file last."""
    spans = {analysis.source.make_span(0, len(analysis.source.text))}
    for node in _list_nodes(analysis.file.statements):
        if analysis.covers(node, offset):
            spans.add(analysis.locate(node.span))
    return sorted(spans, key=lambda span: (span.end - span.start, span.start))


def list_links(analysis: Analysis) -> Iterator[tuple[Span, Path]]:
    """The files that the text names: imports, and the source of a model if it is a file."""
    for name, path in list_imports(analysis.real_path, analysis.file):
        yield from _link_file(analysis, name.span, path)
    for node in _list_nodes(analysis.file.statements):
        match node:
            case tree.Assignment(value=tree.String() as name) if node.path.text == "source":
                file = name.value.partition(":")[0]
                if file.endswith(".py"):
                    yield from _link_file(analysis, name.span, analysis.path.parent / file)


def _link_file(analysis: Analysis, span: Span, path: Path) -> Iterator[tuple[Span, Path]]:
    """A link from a string, without its quotes, to a file that exists."""
    whole = analysis.locate(span)
    try:
        there = path.is_file()
    except (OSError, ValueError):  # a name that is too long, a null character
        return
    if there:
        yield Span(whole.source, whole.start + 1, whole.end - 1), path.resolve()


def _list_nodes(statements: tuple[tree.Statement, ...]) -> Iterator[tree.Node | tree.Body]:
    """Every node that has a span; a node comes before those inside it."""
    waiting: list[object] = list(reversed(statements))
    while waiting:
        node = waiting.pop()
        if isinstance(node, tuple):
            if isinstance(getattr(node, "span", None), Span):
                yield node  # type: ignore[misc]  # what has a span is a node
            waiting.extend(each for each in reversed(node) if not isinstance(each, Span))
