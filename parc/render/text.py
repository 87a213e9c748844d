"""Diagnostics as text for people: the source lines with all labels under them, then notes and help."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from parc.diagnostic import Diagnostic, Label, Severity
from parc.render.canvas import Canvas
from parc.render.excerpt import draw_excerpt
from parc.render.style import BLUE, BOLD, STYLES, escape_controls, format_path
from parc.source import Source, Span


def render(diagnostics: Iterable[Diagnostic], color: bool = False, width: int | None = None) -> str:
    """Every diagnostic in full, separated by empty lines; `width` is that of the terminal, in columns."""
    canvas = Canvas(color, width)
    return "\n".join(_draw_diagnostic(canvas, each) for each in diagnostics)


def render_concise(diagnostics: Iterable[Diagnostic]) -> str:
    """One line per diagnostic: `seed.parc:12:5: error[P201] ..`."""
    return "".join(f"{_format_place(each.span)}{_format_head(each)}\n" for each in diagnostics)


def summarize(diagnostics: Sequence[Diagnostic]) -> str:
    """`2 errors, 1 warning`; empty if there are no diagnostics."""
    counts = [
        (severity.value, sum(each.severity is severity for each in diagnostics)) for severity in Severity
    ]
    return ", ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts if count)


def _format_head(diagnostic: Diagnostic) -> str:
    return f"{diagnostic.severity.value}[{diagnostic.code}]: {escape_controls(diagnostic.message)}"


def _format_place(span: Span | None) -> str:
    return f"{format_path(span.source.path)}:{span.line}:{span.column}: " if span else ""


def _draw_diagnostic(canvas: Canvas, diagnostic: Diagnostic) -> str:
    style = STYLES[diagnostic.severity]
    title, _, message = _format_head(diagnostic).partition(": ")
    first, *rest = canvas.fold(f"{title}: {message}", 0)
    out = [canvas.paint(style, title) + canvas.paint(BOLD, first.removeprefix(title))]
    out += [canvas.paint(BOLD, line) for line in rest]
    gutter = len(str(max((label.span.last_line for label in diagnostic.labels), default=1)))
    bar = " " * gutter + canvas.paint(BLUE, " |")
    for number, (source, labels) in enumerate(_group_by_source(diagnostic)):
        start = next((label for label in labels if label.primary), labels[0]).span
        arrow = canvas.paint(BLUE, ":::" if number else "-->")
        out += [f"{' ' * gutter}{arrow} {escape_controls(source.path)}:{start.line}:{start.column}", bar]
        out += draw_excerpt(canvas, source, labels, gutter, style)
    notes = _draw_notes(canvas, diagnostic, gutter)
    if diagnostic.labels and notes:
        out.append(bar)
    return "\n".join([*out, *notes]) + "\n"


def _draw_notes(canvas: Canvas, diagnostic: Diagnostic, gutter: int) -> list[str]:
    """The notes, the help and the title of the fix."""
    notes = [("note", note) for note in diagnostic.notes]
    notes += [("help", diagnostic.help)] if diagnostic.help else []
    if fix := diagnostic.fix:
        notes.append(("fix", f"{fix.title} ({'--fix' if fix.safe else '--unsafe-fixes'})"))
    out, indent = [], gutter + 9
    for kind, text in notes:
        folded = f"\n{' ' * indent}".join(canvas.fold(escape_controls(text), indent))
        out.append(" " * gutter + canvas.paint(BLUE, " = ") + canvas.paint(BOLD, kind) + f": {folded}")
    return out


def _group_by_source(diagnostic: Diagnostic) -> list[tuple[Source, list[Label]]]:
    """The labels of each source, first of the one where the fault is reported."""
    groups: dict[int, tuple[Source, list[Label]]] = {}
    if diagnostic.span:
        groups[id(diagnostic.span.source)] = diagnostic.span.source, []
    for label in diagnostic.labels:
        groups.setdefault(id(label.span.source), (label.span.source, []))[1].append(label)
    return list(groups.values())
