"""Which stretch of a text a comment belongs to.

A row is a statement, an entry or an argument that takes several lines, or all that stand on one. A comment on
a line of its own belongs to the row after it, one behind a row to that row, one behind an opening bracket to
what the bracket is part of. Formatting keeps all three.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from parc.source import Source, Span
from parc.syntax import tree

EMPTY = re.compile(r"[\[{(]\s*[\]})]")  # brackets that formatting closes on one line

ROUND = re.compile(r"#[^\n]*|[()]")


class Group(NamedTuple):
    """What stands between two brackets, or in the file."""

    span: Span
    items: Sequence[Span]
    owner: Span | None  # the statement or the entry that the brackets are part of; None: the file


def list_groups(file: tree.File, locate: Callable[[Span], Span] = lambda span: span) -> list[Group]:
    """Every group of a file, the inner ones after those around them.

    `locate` is the place in the text of the file of a span of its tree.
    """
    source = file.source
    found = [
        Group(source.make_span(0, len(source.text)), [locate(each.span) for each in file.statements], None)
    ]
    for statement in file.statements:
        for span, items, owner in _list_in_statement(statement):
            found.append(Group(locate(span), [locate(each) for each in items], owner and locate(owner)))
    return found


def _list_in_statement(statement: tree.Statement) -> Iterator[Group]:
    match statement:
        case tree.Block():
            if statement.over:
                yield from _list_in_value(statement.over, statement.span)
            if statement.body:
                yield from _list_in_body(statement.body, statement.span)
        case tree.Let() | tree.Assignment() | tree.Claim():
            yield from _list_in_value(statement.value, statement.span)


def _list_in_body(body: tree.Body, owner: Span) -> Iterator[Group]:
    yield Group(body.span, [each.span for each in body.statements], owner)
    for statement in body.statements:
        yield from _list_in_statement(statement)


def _list_in_value(value: tree.Expression | tree.Named | tree.Pair, owner: Span) -> Iterator[Group]:
    match value:
        case tree.Configured():
            yield from _list_in_body(value.body, owner)
        case tree.List(span, items):
            yield Group(span, _widen_to_brackets(span, [each.span for each in items]), owner)
            for item in items:
                yield from _list_in_value(item, item.span)
        case tree.Call(span, name, arguments):
            inside = span._replace(start=span.source.text.index("(", name.span.end))
            yield Group(inside, _widen_to_brackets(inside, [each.span for each in arguments]), owner)
            for argument in arguments:
                yield from _list_in_value(argument, argument.span)
        case tree.Named() | tree.Pair() | tree.Negation():
            yield from _list_in_value(value.value, owner)
        case tree.Chain():
            for operand in (value.first, *(each for _, each in value.rest)):
                yield from _list_in_value(operand, owner)


def _widen_to_brackets(group: Span, items: Sequence[Span]) -> list[Span]:
    """The items with the round brackets around them, which the tree does not have."""
    text, found = group.source.text, []
    ends = [group.start + 1, *(each.end for each in items)]
    starts = [*(each.start for each in items), group.end - 1]
    for item, before, after in zip(items, ends, starts[1:], strict=False):
        opened = [sign.start() for sign in ROUND.finditer(text, before, item.start) if sign[0] == "("]
        closed = [sign.end() for sign in ROUND.finditer(text, item.end, after) if sign[0] == ")"]
        found.append(Span(group.source, min(opened, default=item.start), max(closed, default=item.end)))
    return found


def find_covered(comment: Span, all_groups: Sequence[Group]) -> Span | None:
    """What a comment belongs to; None: nothing."""
    source, at = comment.source, comment.start
    group = [each for each in all_groups if each.span.start <= at < max(each.span.end, 1)][-1]
    line = source.line_starts[comment.line - 1]
    before = [item for item in group.items if item.start <= at]
    after = [item for item in group.items if item.start > at]
    if before and at < before[-1].end:  # between its parts
        return before[-1]
    if not source.text[line:at].strip():
        return _find_row(source, after) if after else None
    if before and before[-1].end > line:
        return _find_row(source, before[::-1])
    return group.owner


def _find_row(source: Source, items: Sequence[Span]) -> Span:
    """The row of the first item. `items` are ordered by their distance from the comment."""
    row = [items[0]]
    for item in items[1:]:
        before, after = sorted((row[-1], item), key=lambda each: each.start)
        if _takes_lines(before) or _takes_lines(after) or "\n" in source.text[before.end : after.start]:
            break
        row.append(item)
    row.sort(key=lambda each: each.start)
    return row[0].extend_to(row[-1])


def _takes_lines(item: Span) -> bool:
    """Whether it takes several lines."""
    return "\n" in EMPTY.sub("", item.text)
