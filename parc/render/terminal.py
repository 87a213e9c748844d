"""Tables and colours for a terminal, or for a pipe: our own, since a library takes longer than the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parc.check.claims.verdict import format_value
from parc.cost.figure import Figure, Grade
from parc.render.text import BOLD, RESET, columns, printable

DIM = "\033[2m"
AXES = ("\033[36m", "\033[33m", "\033[35m", "\033[32m", "\033[34m", "\033[31m")
MARKS: dict[Grade, str] = {"exact": "", "expected": "~", "calibrated": "*", "estimated": "?"}
LEGEND = "unmarked figures are exact; ~ expected, * calibrated, ? estimated"
WIDTH = 100  # where there is no terminal
NARROWEST = 40
SHARES = ("mfu", "bubble", "waits", "share")  # figures that are told in percent
SHORTEST = 6  # columns of a cell


@dataclass(frozen=True, slots=True)
class Pen:
    """`blocks`: whether the stream takes block characters, which colour needs to be of use."""

    color: bool = False
    width: int = WIDTH
    blocks: bool = False

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{RESET}" if self.color and style and text else text

    def title(self, text: str, more: str = "") -> list[str]:
        text, more = printable(text), printable(more)
        if columns(text) + 2 + columns(more) > self.width:
            return ["", self.paint(BOLD, text), *self.folded(more, 2, DIM)]
        return ["", self.paint(BOLD, text) + (self.paint(DIM, f"  {more}") if more else "")]

    def told(self, figure: Figure | None) -> str:
        """Value, unit and mark; `-` where there is none."""
        return told(figure) if figure else "-"

    def cropped(self, text: str, room: int) -> str:
        text = printable(text)
        if columns(text) <= room:
            return text
        while columns(text) > max(room - 3, 1):
            text = text[:-1]
        return f"{text.rstrip()} .."

    def folded(self, text: str, indent: int, style: str = "") -> list[str]:
        """The text, broken where the width ends."""
        text = printable(text)
        if indent + columns(text) <= self.width:
            return [" " * indent + self.paint(style, text)]
        from textwrap import wrap

        lines = wrap(text, self.width - indent - 2, break_on_hyphens=False)
        return [
            " " * (indent + 2 * bool(number)) + self.paint(style, line) for number, line in enumerate(lines)
        ]

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]], left: str) -> list[str]:
        """Columns as wide as their cells, two apart; those with `<` in `left` begin at their left, the others
        end at their right. Where they do not fit, the widest is cut."""
        widths = [max(columns(row[at]) for row in [head, *rows]) for at in range(len(head))]
        while sum(widths) + 2 * len(widths) > self.width and max(widths) > SHORTEST:
            widths[widths.index(max(widths))] -= 1

        def line(row: Sequence[str]) -> str:
            return "  " + "  ".join(_cells(row, widths, left, self)).rstrip()

        return [self.paint(DIM, line(head).rstrip()), *map(line, rows)]


def _cells(row: Sequence[str], widths: Sequence[int], left: str, pen: Pen) -> Iterator[str]:
    for cell, width, side in zip(row, widths, left, strict=True):
        cell = pen.cropped(cell, width)
        pad = " " * (width - columns(cell))
        yield cell + pad if side == "<" else pad + cell


def told(figure: Figure) -> str:
    """`1.82 GB?`: value, unit, mark of the grade."""
    return amount(figure) + MARKS[figure.grade]


def amount(figure: Figure) -> str:
    if figure.name.rpartition(": ")[2] in SHARES:
        return f"{figure.value:.1%}"
    return format_value(figure)


def derivation(figure: Figure, indent: int = 2) -> Iterator[str]:
    """How a figure came about, and its parts below it."""
    yield f"{' ' * indent}{figure.name} {amount(figure)} ({figure.grade}): {figure.how}"
    for part in figure.parts:
        yield from derivation(part, indent + 2)


def plural(count: int, word: str, many: str = "") -> str:
    return f"{count:,} {word if count == 1 else many or word + 's'}"
