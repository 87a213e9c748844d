"""The lines of a source that a diagnostic points at, with the texts of the labels under them."""

from __future__ import annotations

from collections.abc import Sequence

from parc.diagnostic import Label
from parc.named_tuple import NamedTuple
from parc.render.bracket import Bracket
from parc.render.canvas import MIN_ROOM, Canvas
from parc.render.style import BLUE, count_columns, escape_controls
from parc.source import Source

MAX_ROOM = 140  # characters of a source line that are shown if the width is unlimited
CONTEXT = 40  # characters that are shown before the first label of a longer line


class Mark(NamedTuple):
    """The columns that a label covers."""

    start: int
    end: int
    label: Label


def draw_excerpt(
    canvas: Canvas, source: Source, labels: Sequence[Label], gutter: int, style: str
) -> list[str]:
    """The labelled lines in order, with `...` for lines that are left out in between.

    `gutter` is the width of line numbers, `style` is that of primary labels. The first label that spans
    several lines is drawn as a bracket to the left of them.
    """
    ordered = sorted(labels, key=_get_position)
    long = next((label for label in ordered if label.span.last_line > label.span.line), None)
    bracket = Bracket(canvas, long, style) if long else None
    lines: dict[int, list[Label]] = {}
    for label in ordered:
        if label is not long:
            lines.setdefault(label.span.line, []).append(label)
    for number in bracket.shown_lines if bracket else ():
        lines.setdefault(number, [])
    room = MAX_ROOM if canvas.width is None else max(canvas.width - gutter - 9, MIN_ROOM)  # `.. ` and ` ..`
    out: list[str] = []
    previous = 0
    for number in sorted(lines):
        if previous and number > previous + 1:
            beside = " " * gutter + bracket.draw_beside_gap(previous) if bracket else ""
            out.append((canvas.paint(BLUE, "...") + beside).rstrip())
        previous = number
        line, rows = _draw_line(canvas, source, number, lines[number], bracket, style, room)
        out.append(canvas.paint(BLUE, f"{number:>{gutter}} |") + f" {line}".rstrip())
        out += [(" " * gutter + canvas.paint(BLUE, " |") + f" {row}").rstrip() for row in rows]
    return out


def _draw_line(
    canvas: Canvas,
    source: Source,
    number: int,
    labels: list[Label],
    bracket: Bracket | None,
    style: str,
    room: int,
) -> tuple[str, list[str]]:
    """A source line and the rows under it, both with their column of the bracket."""
    edges = bracket.find_edges(number) if bracket else []
    everything = sorted([*labels, *edges], key=_get_position)
    line, marks = _crop_line(source, number, everything, room - 2 if bracket else room)
    rows = _draw_marks(canvas, [mark for mark in marks if mark.label not in edges], style, room)
    if not bracket:
        return line, rows
    rows = [bracket.draw_beside_labels(number) + row for row in rows]
    for mark in marks:
        if mark.label in edges:
            rows += bracket.draw_edge(number, mark.start, room)
    return bracket.draw_beside_line(number) + line, rows


def _draw_marks(canvas: Canvas, marks: Sequence[Mark], style: str, room: int) -> list[str]:
    """The markers with the text of the last label, then the other texts from the last to the first."""
    if not marks:
        return []
    cells: dict[int, str] = {}
    for start, end, label in sorted(marks, key=lambda mark: (mark.start - mark.end, mark.label.primary)):
        cell = canvas.paint_label(label, style, "^" if label.primary else "-")
        cells |= dict.fromkeys(range(start, end), cell)
    rows = ["".join(cells.get(column, " ") for column in range(max(cells) + 1))]
    left = [mark for mark in marks if mark.label.text]
    if left and left[-1] is marks[-1] and canvas.fits_beside(max(cells), left[-1].label, room):
        label = left.pop().label
        rows[0] += " " + canvas.paint_label(label, style, label.text)
    while left:
        hooks = {start: canvas.paint_label(label, style, "|") for start, _, label in left}
        rows.append("".join(hooks.get(column, " ") for column in range(max(hooks) + 1)))
        start, _, label = left.pop()
        if canvas.width is not None:  # as far to the left as the text needs to fit on the terminal
            start = max(min(start, room - count_columns(label.text)), 0)
        row = "".join(hooks.get(column, " ") for column in range(start))
        rows.append(row + canvas.paint_label(label, style, label.text))
    return rows


def _crop_line(source: Source, number: int, labels: Sequence[Label], room: int) -> tuple[str, list[Mark]]:
    """The part of a line that is shown, and the columns of each label in it."""
    line = source.get_line(number)
    offset = source.line_starts[number - 1]
    first = min(labels[0].span.start - offset, len(line)) if labels else 0
    start = max(0, first - min(CONTEXT, room // 3)) if len(line) > room else 0
    shown = line[start : start + room]
    left = ".. " if start else ""
    marks = []
    for label in labels:
        begin = min(max(label.span.start - offset - start, 0), len(shown))
        end = min(max(label.span.end - offset - start, begin), len(shown))
        column = count_columns(left + shown[:begin])
        marks.append(Mark(column, max(column + 1, count_columns(left + shown[:end])), label))
    return left + escape_controls(shown) + (" .." if start + room < len(line) else ""), marks


def _get_position(label: Label) -> tuple[int, int]:
    return label.span.start, label.span.end
