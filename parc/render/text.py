"""Diagnostics as text for people: the guilty lines with every label under them, then notes and help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from parc.diagnostic import Diagnostic, Label, Severity
from parc.source import Source, Span

if TYPE_CHECKING:
    from parc.render.bracket import Bracket

WIDEST = 140  # characters of a source line that are shown where no width is given
NARROWEST = 24  # and at least, however narrow the terminal
BEFORE = 40  # of them before the first label, where the line is longer

RESET = "\033[0m"
STYLES = {
    Severity.ERROR: "\033[1;31m",
    Severity.WARNING: "\033[1;33m",
    Severity.INFO: "\033[1;36m",
}
BOLD, BLUE, GREEN, RED = "\033[1m", "\033[1;34m", "\033[32m", "\033[31m"


def render(diagnostics: Iterable[Diagnostic], color: bool = False, width: int | None = None) -> str:
    """Every diagnostic in full, with an empty line between two; `width` are the columns of the terminal."""
    return "\n".join(Page(color, width).diagnostic(each) for each in diagnostics)


def concise(diagnostics: Iterable[Diagnostic]) -> str:
    """One line each: `seed.parc:12:5: error[P201] ..`."""
    return "".join(f"{_where(each.span)}{head(each)}\n" for each in diagnostics)


def head(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.severity.value}[{diagnostic.code}]: {printable(diagnostic.message)}"


def summary(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`; empty where there is nothing to tell."""
    counts = [
        (severity.value, sum(each.severity is severity for each in diagnostics)) for severity in Severity
    ]
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts if count)


def printable(text: str) -> str:
    """The text without what a terminal would obey; tabs are four columns."""
    if text.isprintable():
        return text
    return "".join("    " if c == "\t" else c if c.isprintable() or c == "\n" else "�" for c in text)


def _where(span: Span | None) -> str:
    return f"{printable(span.source.path)}:{span.line}:{span.column}: " if span else ""


def columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    text = printable(text)
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


class Page:
    def __init__(self, color: bool, width: int | None) -> None:
        self.color = color
        self.width = width

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{RESET}" if self.color and text else text

    def diagnostic(self, diagnostic: Diagnostic) -> str:
        style = STYLES[diagnostic.severity]
        title, _, message = head(diagnostic).partition(": ")
        first, *rest = self.folded(f"{title}: {message}", 0)
        out = [self.paint(style, title) + self.paint(BOLD, first.removeprefix(title))]
        out += [self.paint(BOLD, line) for line in rest]
        numbers = [label.span.last_line for label in diagnostic.labels]
        gutter = len(str(max(numbers, default=1)))
        bar = " " * gutter + self.paint(BLUE, " |")
        labels_of = _by_source(diagnostic)
        for source, labels in labels_of:
            arrow = "-->" if source is labels_of[0][0] else ":::"
            start = next((label for label in labels if label.primary), labels[0]).span
            place = f"{printable(source.path)}:{start.line}:{start.column}"
            out += [" " * gutter + self.paint(BLUE, arrow) + " " + place, bar]
            out += self.excerpt(source, labels, gutter, style)
        said = [("note", note) for note in diagnostic.notes]
        said += [("help", diagnostic.help)] if diagnostic.help else []
        if fix := diagnostic.fix:
            said.append(("fix", f"{fix.title} ({'--fix' if fix.safe else '--unsafe-fixes'})"))
        if diagnostic.labels and said:
            out.append(bar)
        for kind, text in said:
            told = f"\n{' ' * (gutter + 9)}".join(self.folded(printable(text), gutter + 9))
            out.append(" " * gutter + self.paint(BLUE, " = ") + self.paint(BOLD, kind) + f": {told}")
        return "\n".join(out) + "\n"

    def folded(self, text: str, indent: int) -> list[str]:
        """The lines of a text, the long ones folded where the terminal ends."""
        lines = text.split("\n")
        if self.width is None or all(indent + len(line) <= self.width for line in lines):
            return lines
        from textwrap import wrap

        room = max(self.width - indent, NARROWEST)
        return [part for line in lines for part in (wrap(line, room, break_on_hyphens=False) or [""])]

    def excerpt(self, source: Source, labels: Sequence[Label], gutter: int, style: str) -> list[str]:
        """The labelled lines in order, `...` where lines in between are left out.

        The first label over several lines is drawn to the left of them, from the first to the last.
        """
        ordered = sorted(labels, key=lambda label: (label.span.start, label.span.end))
        long = next((label for label in ordered if label.span.last_line > label.span.line), None)
        lines: dict[int, list[Label]] = {}
        for label in ordered:
            if label is not long:
                lines.setdefault(label.span.line, []).append(label)
        room = (
            WIDEST if self.width is None else max(self.width - gutter - 9, NARROWEST)
        )  # with `.. ` and ` ..`
        bracket = _bracket(self, long, style)
        for number in bracket.shown if bracket else ():
            lines.setdefault(number, [])
        out: list[str] = []
        before = 0
        for number in sorted(lines):
            if before and number > before + 1:
                left_out = " " * gutter + bracket.below(before) if bracket else ""
                out.append((self.paint(BLUE, "...") + left_out).rstrip())
            before = number
            edges = bracket.edges(number) if bracket else []
            here = sorted([*lines[number], *edges], key=lambda label: (label.span.start, label.span.end))
            line, marks = _crop(source, number, here, room - 2 if bracket else room)
            beside = bracket.beside(number) if bracket else ""
            out.append(self.paint(BLUE, f"{number:>{gutter}} |") + f" {beside}{line}".rstrip())
            rows = (
                self.marked([mark for mark in marks if mark[2] not in edges], style, room)
                if lines[number]
                else []
            )
            if bracket:
                rows = [bracket.during(number) + row for row in rows]
                rows += [
                    row for mark in marks if mark[2] in edges for row in bracket.edge(number, mark[0], room)
                ]
            out += [(" " * gutter + self.paint(BLUE, " |") + f" {row}").rstrip() for row in rows]
        return out

    def marked(self, marks: Sequence[tuple[int, int, Label]], style: str, room: int) -> list[str]:
        """The rows under a line: the markers with the last label's text, then the other texts, last first."""
        cells: dict[int, str] = {}
        for start, end, label in sorted(marks, key=lambda mark: (mark[0] - mark[1], mark[2].primary)):
            painted = style if label.primary else BLUE
            cells |= dict.fromkeys(range(start, end), self.paint(painted, "^" if label.primary else "-"))
        told = [mark for mark in marks if mark[2].text]
        row = "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))
        rows = [row]
        if told and told[-1] is marks[-1] and self.beside(max(cells), told[-1][2], room):
            rows[0] += " " + self.text(told.pop()[2], style)
        while told:
            hooks = {start: self.paint(style if label.primary else BLUE, "|") for start, _, label in told}
            rows.append("".join(hooks.get(column, " ") for column in range(max(hooks) + 1)))
            start, _, label = told.pop()
            if self.width is not None:  # back to where the text ends with the terminal
                start = max(min(start, room - columns(label.text)), 0)
            row = "".join(hooks.get(column, " ") for column in range(start))
            rows.append(row + self.text(label, style))
        return rows

    def beside(self, column: int, label: Label, room: int) -> bool:
        """Whether the label's text has its place behind the marker that ends at `column`."""
        return self.width is None or column + 2 + columns(label.text) <= room

    def text(self, label: Label, style: str) -> str:
        return self.paint(style if label.primary else BLUE, printable(label.text))


def _bracket(page: Page, label: Label | None, style: str) -> Bracket | None:
    if label is None:
        return None
    from parc.render.bracket import Bracket

    return Bracket(page, label, style)


def _by_source(diagnostic: Diagnostic) -> list[tuple[Source, list[Label]]]:
    """The labels of each source; the one where the fault is reported comes first."""
    groups: dict[int, tuple[Source, list[Label]]] = {}
    if diagnostic.span:
        groups[id(diagnostic.span.source)] = diagnostic.span.source, []
    for label in diagnostic.labels:
        groups.setdefault(id(label.span.source), (label.span.source, []))[1].append(label)
    return list(groups.values())


def _crop(
    source: Source, number: int, labels: Sequence[Label], room: int
) -> tuple[str, list[tuple[int, int, Label]]]:
    """The part of a line that is shown, and the columns that each label covers in it."""
    line = source.line(number)
    offset = source.line_starts[number - 1]
    first = min(labels[0].span.start - offset, len(line)) if labels else 0
    start = max(0, first - min(BEFORE, room // 3)) if len(line) > room else 0
    shown = line[start : start + room]
    left = ".. " if start else ""
    marks = []
    for label in labels:
        begin = min(max(label.span.start - offset - start, 0), len(shown))
        end = min(max(label.span.end - offset - start, begin), len(shown))
        column = columns(left + shown[:begin])
        marks.append((column, max(column + 1, columns(left + shown[:end])), label))
    return left + printable(shown) + (" .." if start + room < len(line) else ""), marks
