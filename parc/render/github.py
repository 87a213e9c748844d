"""Diagnostics as workflow commands of GitHub, which shows them beside the lines of a pull request.

The commands and their escapes:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Diagnostic, Severity
from parc.render.style import escape_controls

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """One line per diagnostic."""
    return "".join(_format_command(each) for each in diagnostics)


def _format_command(diagnostic: Diagnostic) -> str:
    properties = {"title": diagnostic.code}
    if span := diagnostic.span:
        line, column = span.source.locate(span.end)
        properties |= {"file": span.source.path, "line": str(span.line)}
        if line == span.line:  # columns are only valid within one line
            properties |= {"col": str(span.column), "endColumn": str(column)}
        else:
            properties |= {"endLine": str(span.last_line)}
    others = [label for label in diagnostic.labels if label.text and label.span != span]
    lines = [diagnostic.message]
    lines += [f"{label.span.source.path}:{label.span.line}: {label.text}" for label in others]
    lines += [f"note: {note}" for note in diagnostic.notes]
    lines += [f"help: {diagnostic.help}"] if diagnostic.help else []
    listed = ",".join(f"{name}={_escape(value, ':,')}" for name, value in properties.items())
    return f"::{COMMANDS[diagnostic.severity]} {listed}::{_escape(chr(10).join(lines))}\n"


def _escape(text: str, more: str = "") -> str:
    text = "%0A".join(escape_controls(line).replace("%", "%25") for line in text.split("\n"))
    for sign in more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
