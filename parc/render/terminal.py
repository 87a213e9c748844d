"""Titles, tables and figures for a terminal or a pipe. Libraries take longer to import than a whole check."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TextIO

from parc.check.claims.verdict import format_value
from parc.cost.figure import Figure, Grade
from parc.render.style import BOLD, DIM, RESET, count_columns, escape_controls, wants_color

AXES = ("\033[36m", "\033[33m", "\033[35m", "\033[32m", "\033[34m", "\033[31m")
MARKS: dict[Grade, str] = {"exact": "", "expected": "~", "calibrated": "*", "estimated": "?"}
LEGEND = "unmarked figures are exact; ~ expected, * calibrated, ? estimated"
DEFAULT_WIDTH = 100  # without a terminal
MIN_WIDTH = 40
PERCENTAGES = ("mfu", "bubble", "waits", "share")  # figures that are shown as percentages
MIN_CELL = 6  # of a cell that is cropped


@dataclass(frozen=True, slots=True)
class Pen:
    """How to draw on a stream. `blocks`: its encoding has block characters."""

    color: bool = False
    width: int = DEFAULT_WIDTH
    blocks: bool = False

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{RESET}" if self.color and style and text else text

    def draw_title(self, text: str, more: str = "") -> list[str]:
        text, more = escape_controls(text), escape_controls(more)
        if count_columns(text) + 2 + count_columns(more) > self.width:
            return ["", self.paint(BOLD, text), *self.fold(more, 2, DIM)]
        return ["", self.paint(BOLD, text) + (self.paint(DIM, f"  {more}") if more else "")]

    def format(self, figure: Figure | None) -> str:
        """Value, unit and mark; `-` if there is no figure."""
        return format_figure(figure) if figure else "-"

    def crop(self, text: str, room: int) -> str:
        text = escape_controls(text)
        if count_columns(text) <= room:
            return text
        while count_columns(text) > max(room - 3, 1):
            text = text[:-1]
        return f"{text.rstrip()} .."

    def fold(self, text: str, indent: int, style: str = "") -> list[str]:
        """The text, indented, and folded where the terminal ends."""
        text = escape_controls(text)
        if indent + count_columns(text) <= self.width:
            return [" " * indent + self.paint(style, text)]
        from textwrap import wrap  # noqa: PLC0415 - start-up time

        lines = wrap(text, self.width - indent - 2, break_on_hyphens=False)
        return [
            " " * (indent + 2 * bool(number)) + self.paint(style, line) for number, line in enumerate(lines)
        ]

    def draw_table(self, head: Sequence[str], rows: Sequence[Sequence[str]], left: str) -> list[str]:
        """A table with two spaces between columns; `left` has `<` for columns that are aligned to the left.

        If the table is wider than the terminal, cells of the widest columns are cropped.
        """
        widths = [max(count_columns(row[at]) for row in [head, *rows]) for at in range(len(head))]
        while sum(widths) + 2 * len(widths) > self.width and max(widths) > MIN_CELL:
            widths[widths.index(max(widths))] -= 1

        def draw_row(row: Sequence[str]) -> str:
            return "  " + "  ".join(_pad_cells(row, widths, left, self)).rstrip()

        return [self.paint(DIM, draw_row(head).rstrip()), *map(draw_row, rows)]


def make_pen(stream: TextIO) -> Pen:
    """The pen for a stream: its colours, its width, and whether it has block characters."""
    blocks = (stream.encoding or "").lower().replace("-", "") == "utf8"
    try:
        columns = os.get_terminal_size(stream.fileno()).columns if stream.isatty() else 0
    except (OSError, ValueError):  # a terminal of unknown width, or not a file
        columns = 0
    return Pen(wants_color(stream), max(columns or DEFAULT_WIDTH, MIN_WIDTH), blocks)


def _pad_cells(row: Sequence[str], widths: Sequence[int], left: str, pen: Pen) -> Iterator[str]:
    for cell, width, side in zip(row, widths, left, strict=True):
        cell = pen.crop(cell, width)
        pad = " " * (width - count_columns(cell))
        yield cell + pad if side == "<" else pad + cell


def format_figure(figure: Figure) -> str:
    """Value, unit and the mark of the grade: `1.82 GB?`."""
    return format_amount(figure) + MARKS[figure.grade]


def format_amount(figure: Figure) -> str:
    if figure.name.rpartition(": ")[2] in PERCENTAGES:
        return f"{figure.value:.1%}"
    return format_value(figure)


def draw_derivation(figure: Figure, indent: int = 2) -> Iterator[str]:
    """The derivation of a figure, followed by those of its parts."""
    yield f"{' ' * indent}{figure.name} {format_amount(figure)} ({figure.grade}): {figure.how}"
    for part in figure.parts:
        yield from draw_derivation(part, indent + 2)


def format_count(count: int, word: str, many: str = "") -> str:
    return f"{count:,} {word if count == 1 else many or word + 's'}"
