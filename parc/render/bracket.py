"""A label over several lines, drawn to the left of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from parc.diagnostic import Label
from parc.render.text import BLUE, printable
from parc.source import Span

if TYPE_CHECKING:
    from parc.render.text import Page

FEW = 4  # lines of one label that are all shown


class Bracket:
    """`/` where the label begins with its line, `|` from there down to `|_^`."""

    def __init__(self, page: Page, label: Label, style: str) -> None:
        self.page = page
        self.label = label
        self.style = style if label.primary else BLUE
        span = label.span
        self.first, self.last = span.line, span.last_line
        self.flush = not span.source.text[span.source.line_starts[self.first - 1] : span.start].strip()

    @property
    def shown(self) -> Iterable[int]:
        """The lines of it that are: the first and the last, and those in between where they are few."""
        few = self.last - self.first < FEW
        return range(self.first, self.last + 1) if few else (self.first, self.last)

    def sign(self, sign: str) -> str:
        return self.page.paint(self.style, sign) + " "

    def beside(self, number: int) -> str:
        """To the left of a line,"""
        if self.flush and number == self.first:
            return self.sign("/")
        return self.sign("|") if self.first < number <= self.last else "  "

    def during(self, number: int) -> str:
        """of what is said under it,"""
        begun = self.first <= number if self.flush else self.first < number
        return self.sign("|") if begun and number <= self.last else "  "

    def below(self, number: int) -> str:
        """and of what is left out after it."""
        return self.sign("|") if self.first <= number < self.last else "  "

    def edges(self, number: int) -> list[Label]:
        """The first or the last character of the label, on lines that have it."""
        source, start, end = self.label.span
        if number == self.first:
            return [] if self.flush else [Label(Span(source, start, start + 1), "", self.label.primary)]
        return [Label(Span(source, end - 1, end), "", self.label.primary)] if number == self.last else []

    def edge(self, number: int, column: int, room: int) -> list[str]:
        """The rows that lead from the left to the first or the last character."""
        mark = "_" * (column + 1) + ("^" if self.label.primary else "-")
        if number == self.first:
            return [" " + self.page.paint(self.style, mark)]
        row = self.page.paint(self.style, f"|{mark}")
        text = self.page.paint(self.style, printable(self.label.text))
        if not text or self.page.beside(column, self.label, room):
            return [f"{row} {text}".rstrip()]
        return [row, text]
