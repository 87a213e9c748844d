"""Arranges pieces in lines: what is broken, what shares a line, and what is aligned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from parc.syntax.format.pieces import Comment, Group, Item

WIDTH = 110
INDENT = "  "
DIRECTIVE = "parc:"


@dataclass
class Line:
    text: str  # with indentation
    comment: str = ""  # at its end

    @property
    def indent(self) -> int:
        return len(self.text) - len(self.text.lstrip())


class Row(NamedTuple):
    """Items that share a line, or one item over several lines."""

    items: list[Item]
    broken: bool

    @property
    def text(self) -> str:
        return ", ".join(item.flat for item in self.items)

    @property
    def is_separate(self) -> bool:
        """Whether a blank line precedes it or its comments."""
        first = self.items[0]
        return first.comments[0].blank if first.comments else first.blank


class Head(NamedTuple):
    """The first tokens of a statement. Neighbours with heads of one kind are aligned after them."""

    kind: str
    text: str


class Printer:
    """Collects the lines of a formatted file."""

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def print_file(self, file: Group) -> str:
        self.print_content(file, 0)
        for behind, run in groupby(self.lines, lambda line: line.indent if line.comment else None):
            if behind is not None:
                _align_comments(list(run))
        return "".join(f"{line.text}{line.comment}\n" for line in self.lines)

    def print_content(self, group: Group, depth: int) -> None:
        end = "," if group.separated else ""
        rows = list(_fold_rows(group, WIDTH - len(INDENT) * depth - len(end)))
        pads = (
            _compute_widths(rows, WIDTH - len(INDENT) * depth)
            if group.signs in ("", "{}")
            else [0] * len(rows)
        )
        for at, (row, pad) in enumerate(zip(rows, pads, strict=True)):
            first = row.items[0]
            large = not group.signs and at > 0 and (row.broken or rows[at - 1].broken)
            self.add_blank_if(at > 0 and (row.is_separate or large))
            self.print_comments(first.comments, depth)
            self.add_blank_if(bool(first.comments) and first.blank)
            if row.broken:
                self.print_broken(first, depth, end)
            else:
                self.add_line(_pad_row(row, pad) + end, depth, row.items[-1].after)
        self.add_blank_if(bool(rows and group.last) and group.last[0].blank)
        self.print_comments(group.last, depth)

    def print_broken(self, item: Item, depth: int, end: str) -> None:
        """Print an item over several lines."""
        breaks = _choose_breaks(item, WIDTH - len(INDENT) * depth - len(end))
        *before, last = _split_around(item, breaks)
        for text, at in zip(before, breaks, strict=True):
            group = item.parts[at][0]
            assert isinstance(group, Group)
            self.add_line(text, depth, group.after)
            self.print_content(group, depth + 1)
        self.add_line(last + end, depth, item.after)

    def print_comments(self, comments: Sequence[Comment], depth: int) -> None:
        for at, comment in enumerate(comments):
            self.add_blank_if(at > 0 and comment.blank)
            self.add_line(comment.text, depth)

    def add_line(self, text: str, depth: int, comment: str = "") -> None:
        self.lines.append(Line(INDENT * depth + text, comment))

    def add_blank_if(self, wanted: bool) -> None:
        if wanted:
            self.lines.append(Line(""))


def _fold_rows(group: Group, room: int) -> Iterator[Row]:
    """The lines of the author, folded if longer than `room`. Top-level statements have separate rows."""
    for run in _split_runs(group):
        if len(run) > 1 and _has_directive(run):
            yield Row(run, False)
            continue
        row: list[Item] = []
        for item in run:
            broken = item.broken or (len(item.flat) > room and _can_break(item))
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


def _split_runs(group: Group) -> Iterator[list[Item]]:
    """The items of each line of the author; an item over several lines is separate."""
    run: list[Item] = []
    for item in group.items:
        if run and (not item.joined or item.broken or run[-1].broken):
            yield run
            run = []
        run.append(item)
    if run:
        yield run


def _has_directive(run: Sequence[Item]) -> bool:
    """Whether a comment has a directive to parc. It applies to all items of the line: they stay together."""
    return any(DIRECTIVE in text for text in (run[-1].after, *(each.text for each in run[0].comments)))


def _can_break(item: Item) -> bool:
    return any(isinstance(part, Group) and part.items for part, _ in item.parts)


def _choose_breaks(item: Item, room: int) -> list[int]:
    """Indices of the groups to break: those broken by the author, and as many of the last as necessary."""
    places, line, end = [], 0, 0  # of each part: the start of its line, and its own
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


def _split_around(item: Item, breaks: Sequence[int]) -> Iterator[str]:
    """The lines of the item without the contents of its broken groups."""
    start, sign = 0, ""
    for at in breaks:
        group, spaced = item.parts[at]
        assert isinstance(group, Group)
        yield sign + item.text(start, at) + (" " if spaced else "") + group.signs[0]
        start, sign = at + 1, group.signs[1]
    yield sign + item.text(start, len(item.parts))


def _compute_widths(rows: Sequence[Row], room: int) -> list[int]:
    """The width of the head of each row. Rows are not aligned if most of them have several statements."""
    pads: list[int] = []
    heads = [None if row.broken else _get_head(row.items[0]) for row in rows]
    while len(pads) < len(rows):
        start, end = len(pads), len(pads) + 1
        head = heads[start]
        while end < len(rows) and head and _is_same_kind(head, heads[end]) and not _is_separate(rows[end]):
            end += 1
        run = rows[start:end]
        width = max(len(each.text) if each else 0 for each in heads[start:end])
        table = 2 * sum(len(row.items) == 1 for row in run) > len(run)
        fits = all(len(_pad_row(row, width)) <= room for row in run) if table else False
        pads += [width if fits else 0] * len(run)
    return pads


def _is_same_kind(head: Head, other: Head | None) -> bool:
    return other is not None and head.kind == other.kind


def _is_separate(row: Row) -> bool:
    return row.is_separate or bool(row.items[0].comments)


def _pad_row(row: Row, width: int) -> str:
    head = _get_head(row.items[0]) if width else None
    return f"{head.text:{width}}{row.text[len(head.text) :]}" if head else row.text


def _get_head(item: Item) -> Head | None:
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
    """Align the comments of neighbouring lines after the longest line, if all fit."""
    longest = max(len(line.text) for line in run)
    fit = all(longest + 2 + len(line.comment) <= WIDTH for line in run)
    for line in run:
        line.text = f"{line.text:{longest if fit else 0}}  "
