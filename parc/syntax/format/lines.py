"""Pieces to lines: what is broken, what shares a line, and what is aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from parc.syntax.format.pieces import Comment, Group, Item

WIDTH = 110
INDENT = "  "
TO_PARC = "parc:"


@dataclass
class Line:
    text: str  # with its indentation
    comment: str = ""  # behind it

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())


class Row(NamedTuple):
    """Items that share a line, or one that takes several."""

    items: list[Item]
    broken: bool

    @property
    def text(self) -> str:
        return ", ".join(item.flat for item in self.items)

    @property
    def apart(self) -> bool:
        """Whether a blank line goes before it, or before its comments."""
        first = self.items[0]
        return first.comments[0].blank if first.comments else first.blank


class Head(NamedTuple):
    """The first words of a statement; neighbours whose heads are of one kind are aligned behind them."""

    kind: str
    text: str


class Printer:
    def __init__(self) -> None:
        self.lines: list[Line] = []

    def file(self, file: Group) -> str:
        self.content(file, 0)
        for behind, run in groupby(self.lines, lambda line: line.indent if line.comment else None):
            if behind is not None:
                _align_comments(list(run))
        return "".join(f"{line.text}{line.comment}\n" for line in self.lines)

    def content(self, group: Group, depth: int) -> None:
        end = "," if group.separated else ""
        rows = list(_rows(group, WIDTH - len(INDENT) * depth - len(end)))
        pads = _pads(rows, WIDTH - len(INDENT) * depth) if group.signs in ("", "{}") else [0] * len(rows)
        for at, (row, pad) in enumerate(zip(rows, pads, strict=True)):
            first = row.items[0]
            large = not group.signs and at > 0 and (row.broken or rows[at - 1].broken)
            self.blank(at > 0 and (row.apart or large))
            self.comments(first.comments, depth)
            self.blank(bool(first.comments) and first.blank)
            if row.broken:
                self.broken(first, depth, end)
            else:
                self.line(_padded(row, pad) + end, depth, row.items[-1].after)
        self.blank(bool(rows and group.last) and group.last[0].blank)
        self.comments(group.last, depth)

    def broken(self, item: Item, depth: int, end: str) -> None:
        """An item over several lines."""
        breaks = _breaks(item, WIDTH - len(INDENT) * depth - len(end))
        *before, last = _around(item, breaks)
        for text, at in zip(before, breaks, strict=True):
            group = item.parts[at][0]
            assert isinstance(group, Group)
            self.line(text, depth, group.after)
            self.content(group, depth + 1)
        self.line(last + end, depth, item.after)

    def comments(self, comments: Sequence[Comment], depth: int) -> None:
        for at, comment in enumerate(comments):
            self.blank(at > 0 and comment.blank)
            self.line(comment.text, depth)

    def line(self, text: str, depth: int, comment: str = "") -> None:
        self.lines.append(Line(INDENT * depth + text, comment))

    def blank(self, wanted: bool) -> None:
        if wanted:
            self.lines.append(Line(""))


def _rows(group: Group, room: int) -> Iterator[Row]:
    """The author's lines, folded where longer than `room`. At the top every statement has its own."""
    for run in _runs(group):
        if len(run) > 1 and _addressed(run):
            yield Row(run, False)
            continue
        row: list[Item] = []
        for item in run:
            broken = item.broken or (len(item.flat) > room and _breakable(item))
            full = broken or not group.signs
            if row and (full or len(Row([*row, item], False).text) > room):
                yield Row(row, False)
                row = []
            if broken:
                yield Row([item], True)
            else:
                row.append(item)
        if row:
            yield Row(row, False)


def _runs(group: Group) -> Iterator[list[Item]]:
    """The author's lines: what stands on one, or what takes several."""
    run: list[Item] = []
    for item in group.items:
        if run and (not item.joined or item.broken or run[-1].broken):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _addressed(run: Sequence[Item]) -> bool:
    """Whether a comment to parc speaks of these items: they stay together, so that it goes on to do so."""
    return any(TO_PARC in text for text in (run[-1].after, *(each.text for each in run[0].comments)))


def _breakable(item: Item) -> bool:
    return any(isinstance(part, Group) and part.items for part, _ in item.parts)


def _breaks(item: Item, room: int) -> list[int]:
    """Which groups of the item are broken: the author's, and from the last on those in too long a line."""
    places, line, end = [], 0, 0  # of each part: where its line starts, and where itself
    for part, spaced in item.parts:
        start = end + spaced
        end = start + len(part if isinstance(part, str) else part.flat)
        places.append((line, start))
        if isinstance(part, Group) and part.broken:
            line = end - 1  # its closing sign
    breaks = []
    for at in reversed(range(len(item.parts))):
        part, (line, start) = item.parts[at][0], places[at]
        if isinstance(part, Group) and (part.broken or (part.items and end - line > room)):
            breaks.append(at)
            end = start + 1
    return breaks[::-1]


def _around(item: Item, breaks: Sequence[int]) -> Iterator[str]:
    """The lines of the item without what is inside of the groups that are broken."""
    start, sign = 0, ""
    for at in breaks:
        group, spaced = item.parts[at]
        assert isinstance(group, Group)
        yield sign + item.text(start, at) + (" " if spaced else "") + group.signs[0]
        start, sign = at + 1, group.signs[1]
    yield sign + item.text(start, len(item.parts))


def _pads(rows: Sequence[Row], room: int) -> list[int]:
    """How wide the head of each row is made. Where most lines hold several statements, none is aligned."""
    pads: list[int] = []
    heads = [None if row.broken else _head(row.items[0]) for row in rows]
    while len(pads) < len(rows):
        start, end = len(pads), len(pads) + 1
        head = heads[start]
        while end < len(rows) and head and _same(head, heads[end]) and not _alone(rows[end]):
            end += 1
        run = rows[start:end]
        width = max(len(each.text) if each else 0 for each in heads[start:end])
        table = 2 * sum(len(row.items) == 1 for row in run) > len(run)
        fits = all(len(_padded(row, width)) <= room for row in run) if table else False
        pads += [width if fits else 0] * len(run)
    return pads


def _same(head: Head, other: Head | None) -> bool:
    return other is not None and head.kind == other.kind


def _alone(row: Row) -> bool:
    return row.apart or bool(row.items[0].comments)


def _padded(row: Row, width: int) -> str:
    head = _head(row.items[0]) if width else None
    return f"{head.text:{width}}{row.text[len(head.text) :]}" if head else row.text


def _head(item: Item) -> Head | None:
    for at, kind in enumerate(item.kinds):
        if at and kind in ("EQUAL", "{}"):
            text = item.text(0, at)
            return Head(text.split()[0] if " " in text else "=", text)
        if at and kind == "OVER" and item.kinds[at + 1 : at + 2] == ["[]"]:
            return Head("over", item.text(0, at))
        if kind == "RELATION":
            return Head("claim", item.text(0, at))
    return None


def _align_comments(run: list[Line]) -> None:
    """Behind the longest of neighbouring lines, where they all fit."""
    longest = max(len(line.text) for line in run)
    fit = all(longest + 2 + len(line.comment) <= WIDTH for line in run)
    for line in run:
        line.text = f"{line.text:{longest if fit else 0}}  "
