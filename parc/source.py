"""Texts and spans in them. A `Source` is a plan file, a model, or an argument of the command line."""

from __future__ import annotations

from bisect import bisect_right
from functools import cached_property
from itertools import accumulate

from parc.named_tuple import NamedTuple
from parc.record import dataclass


@dataclass(frozen=True, eq=False)
class Source:
    """A text, and the path under which it is shown."""

    path: str
    text: str

    @cached_property
    def line_starts(self) -> list[int]:
        """The offset of the first character of each line."""
        lengths = map(len, self.text.split("\n"))
        starts = list(accumulate(lengths, lambda start, length: start + length + 1, initial=0))
        return starts[:-1]

    def line_number(self, offset: int) -> int:
        """The 1-based line that holds the character at `offset`."""
        return bisect_right(self.line_starts, offset)

    def locate(self, offset: int) -> tuple[int, int]:
        """The 1-based line and column of the character at `offset`, which may be the end of the text."""
        line = self.line_number(offset)
        return line, offset - self.line_starts[line - 1] + 1

    def get_line(self, number: int) -> str:
        """The text of the 1-based line `number`, without its line end."""
        starts = self.line_starts
        end = starts[number] - 1 if number < len(starts) else len(self.text)
        return self.text[starts[number - 1] : end].removesuffix("\r")

    def make_span(self, start: int, end: int) -> Span:
        return Span(self, start, end)

    def make_line_span(self, number: int) -> Span:
        """A whole line without its indentation, for positions from tracebacks."""
        line = self.get_line(number)
        start = self.line_starts[number - 1]
        return Span(self, start + len(line) - len(line.lstrip()), start + len(line))


class Span(NamedTuple):
    """The characters from `start` up to `end` of a source, 0-based and half open."""

    source: Source
    start: int
    end: int

    @property
    def line(self) -> int:
        """The 1-based number of the first character."""
        return self.source.line_number(self.start)

    @property
    def column(self) -> int:
        """The 1-based number of the first character."""
        return self.source.locate(self.start)[1]

    @property
    def last_line(self) -> int:
        """The 1-based line of the last character."""
        return self.source.line_number(max(self.start, self.end - 1))

    @property
    def text(self) -> str:
        return self.source.text[self.start : self.end]

    def extend_to(self, other: Span) -> Span:
        """From the start of this span to the end of `other`."""
        return Span(self.source, self.start, other.end)

    def overlaps(self, other: Span) -> bool:
        """Whether two spans share a character. An empty span counts as one character."""
        return (
            self.source is other.source
            and self.start < max(other.end, other.start + 1)
            and other.start < max(self.end, self.start + 1)
        )
