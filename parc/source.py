"""Text and places in it. A `Source` is any text: a plan file, a model, an argument of the command line."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple


@dataclass(frozen=True, eq=False)
class Source:
    """A text and the path it is shown under."""

    path: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        """Offset of the first character of each line."""
        starts = [0]
        position = self.text.find("\n")
        while position >= 0:
            starts.append(position + 1)
            position = self.text.find("\n", position + 1)
        return starts

    def line_number(self, offset: int) -> int:
        """The 1-based line that holds the character at `offset`."""
        return bisect_right(self.line_starts, offset)

    def place(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of the character at `offset`, which may be the end of the text."""
        line = self.line_number(offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """The text of the 1-based line `number`, without its line end."""
        starts = self.line_starts
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].removesuffix("\r")

    def span(self, start: int, end: int) -> Span:
        return Span(self, start, end)

    def span_of_line(self, number: int) -> Span:
        """A whole line but its indentation: what a traceback knows of a place."""
        line = self.line(number)
        start = self.line_starts[number - 1]
        return Span(self, start + len(line) - len(line.lstrip()), start + len(line))


class Span(NamedTuple):
    """Characters `start` up to `end` of a source (half open, 0-based)."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """1-based."""
        return self.source.line_number(self.start)

    @property
    def column(self) -> int:
        """1-based."""
        return self.source.place(self.start)[1]

    @property
    def last_line(self) -> int:
        """The 1-based line of the last character."""
        return self.source.line_number(max(self.start, self.end - 1))

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.start, other.end)

    def overlaps(self, other: Span) -> bool:
        """Whether the two share a character; an empty span counts as the place where it stands."""
        return (
            self.source is other.source
            and self.start < max(other.end, other.start + 1)
            and other.start < max(self.end, self.start + 1)
        )
