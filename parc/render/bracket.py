"""A bracket to the left of the source lines that one label spans."""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Label
from parc.render.canvas import Canvas
from parc.render.style import BLUE, escape_controls
from parc.source import Span

MAX_LINES = 4  # of a label that are all shown


class Bracket:
    """`/` if the label begins at the start of its line, `|` from there down to `|_^` under its end.

    `flush` is whether only blanks precede the label on its first line.
    """

    def __init__(self, canvas: Canvas, label: Label, style: str) -> None:
        self.canvas = canvas
        self.label = label
        self.style = style if label.primary else BLUE
        span = label.span
        self.first, self.last = span.line, span.last_line
        self.flush = not span.source.text[span.source.line_starts[self.first - 1] : span.start].strip()

    @property
    def shown_lines(self) -> Iterable[int]:
        """All lines of the label if they are few, otherwise the first and the last."""
        few = self.last - self.first < MAX_LINES
        return range(self.first, self.last + 1) if few else (self.first, self.last)

    def draw_sign(self, sign: str) -> str:
        return self.canvas.paint(self.style, sign) + " "

    def draw_beside_line(self, number: int) -> str:
        """The column to the left of a source line."""
        if self.flush and number == self.first:
            return self.draw_sign("/")
        return self.draw_sign("|") if self.first < number <= self.last else "  "

    def draw_beside_labels(self, number: int) -> str:
        """The column to the left of the rows under a source line."""
        begun = self.first <= number if self.flush else self.first < number
        return self.draw_sign("|") if begun and number <= self.last else "  "

    def draw_beside_gap(self, number: int) -> str:
        """The column to the left of the `...` after a source line."""
        return self.draw_sign("|") if self.first <= number < self.last else "  "

    def find_edges(self, number: int) -> list[Label]:
        """The first or the last character of the label, if this line has it and it is to be marked."""
        source, start, end = self.label.span
        if number == self.first:
            return [] if self.flush else [Label(Span(source, start, start + 1), "", self.label.primary)]
        return [Label(Span(source, end - 1, end), "", self.label.primary)] if number == self.last else []

    def draw_edge(self, number: int, column: int, room: int) -> list[str]:
        """The rows that lead from the bracket to the first or the last character."""
        mark = "_" * (column + 1) + ("^" if self.label.primary else "-")
        if number == self.first:
            return [" " + self.canvas.paint(self.style, mark)]
        row = self.canvas.paint(self.style, f"|{mark}")
        text = self.canvas.paint(self.style, escape_controls(self.label.text))
        if not text or self.canvas.fits_beside(column, self.label, room):
            return [f"{row} {text}".rstrip()]
        return [row, text]
