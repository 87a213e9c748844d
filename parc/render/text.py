"""Diagnostics as text for people: the guilty lines with every label under them, then notes and help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parc.diagnostic import Diagnostic, Label, Severity
from parc.source import Source, Span

WIDEST = 140  # characters of a source line that are shown
BEFORE = 40  # of them before the first label, where the line is longer

RESET = "\033[0m"
STYLES = {
    Severity.ERROR: "\033[1;31m",
    Severity.WARNING: "\033[1;33m",
    Severity.INFO: "\033[1;36m",
}
BOLD, BLUE = "\033[1m", "\033[1;34m"


def render(diagnostics: Iterable[Diagnostic], color: bool = False) -> str:
    """Every diagnostic in full, with an empty line between two."""
    return "\n".join(_Page(color).diagnostic(each) for each in diagnostics)


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


def _columns(text: str) -> int:
    """How many columns of a terminal the text takes."""
    text = printable(text)
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


class _Page:
    def __init__(self, color: bool) -> None:
        self.color = color

    def paint(self, style: str, text: str) -> str:
        return f"{style}{text}{RESET}" if self.color and text else text

    def diagnostic(self, diagnostic: Diagnostic) -> str:
        style = STYLES[diagnostic.severity]
        title, _, message = head(diagnostic).partition(": ")
        out = [self.paint(style, title) + self.paint(BOLD, f": {message}")]
        numbers = [label.span.line for label in diagnostic.labels]
        gutter = len(str(max(numbers, default=1)))
        bar = " " * gutter + self.paint(BLUE, " |")
        for source, labels in _by_source(diagnostic):
            arrow = "-->" if not out[1:] else ":::"
            start = next((label for label in labels if label.primary), labels[0]).span
            place = f"{printable(source.path)}:{start.line}:{start.column}"
            out += [" " * gutter + self.paint(BLUE, arrow) + " " + place, bar]
            out += self.excerpt(source, labels, gutter, style)
        if diagnostic.labels and (diagnostic.notes or diagnostic.help):
            out.append(bar)
        for kind, text in [*(("note", note) for note in diagnostic.notes), ("help", diagnostic.help)]:
            if text:
                indent = "\n" + " " * (gutter + 9)
                told = printable(text).replace("\n", indent)
                out.append(" " * gutter + self.paint(BLUE, " = ") + self.paint(BOLD, kind) + f": {told}")
        return "\n".join(out) + "\n"

    def excerpt(self, source: Source, labels: Sequence[Label], gutter: int, style: str) -> list[str]:
        """The labelled lines in order, `...` where lines in between are left out."""
        out: list[str] = []
        lines: dict[int, list[Label]] = {}
        for label in sorted(labels, key=lambda label: (label.span.start, label.span.end)):
            lines.setdefault(label.span.line, []).append(label)
        before = 0
        for number, here in lines.items():
            if before and number > before + 1:
                out.append(self.paint(BLUE, "..."))
            before = number
            line, marks = _crop(source, number, here)
            out.append(self.paint(BLUE, f"{number:>{gutter}} |") + f" {line}".rstrip())
            out += [" " * gutter + self.paint(BLUE, " |") + f" {row}" for row in self.marked(marks, style)]
        return out

    def marked(self, marks: Sequence[tuple[int, int, Label]], style: str) -> list[str]:
        """The rows under a line: the markers with the last label's text, then the other texts, last first."""
        cells: dict[int, str] = {}
        for start, end, label in sorted(marks, key=lambda mark: mark[2].primary):
            painted = style if label.primary else BLUE
            cells |= dict.fromkeys(range(start, end), self.paint(painted, "^" if label.primary else "-"))
        told = [mark for mark in marks if mark[2].text]
        row = "".join(cells.get(column, " ") for column in range(max(cells, default=-1) + 1))
        rows = [row]
        if told and told[-1] is marks[-1]:
            rows[0] += " " + self.text(told.pop()[2], style)
        while told:
            hooks = {start: self.paint(style if label.primary else BLUE, "|") for start, _, label in told}
            rows.append("".join(hooks.get(column, " ") for column in range(max(hooks) + 1)))
            start, _, label = told.pop()
            row = "".join(hooks.get(column, " ") for column in range(start))
            rows.append(row + self.text(label, style))
        return rows

    def text(self, label: Label, style: str) -> str:
        return self.paint(style if label.primary else BLUE, printable(label.text))


def _by_source(diagnostic: Diagnostic) -> list[tuple[Source, list[Label]]]:
    """The labels of each source; the one where the fault is reported comes first."""
    groups: dict[int, tuple[Source, list[Label]]] = {}
    if diagnostic.span:
        groups[id(diagnostic.span.source)] = diagnostic.span.source, []
    for label in diagnostic.labels:
        groups.setdefault(id(label.span.source), (label.span.source, []))[1].append(label)
    return list(groups.values())


def _crop(source: Source, number: int, labels: Sequence[Label]) -> tuple[str, list[tuple[int, int, Label]]]:
    """The part of a line that is shown, and the columns that each label covers in it."""
    line = source.line(number)
    offset = source.line_starts[number - 1]
    first = min(labels[0].span.start - offset, len(line))
    start = max(0, first - BEFORE) if len(line) > WIDEST else 0
    shown = line[start : start + WIDEST]
    left = ".. " if start else ""
    marks = []
    for label in labels:
        begin = min(max(label.span.start - offset - start, 0), len(shown))
        end = min(max(label.span.end - offset - start, begin), len(shown))
        column = _columns(left + shown[:begin])
        marks.append((column, max(column + 1, _columns(left + shown[:end])), label))
    return left + printable(shown) + (" .." if start + WIDEST < len(line) else ""), marks
