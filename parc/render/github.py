"""Diagnostics as GitHub's workflow commands, which show them beside the lines of a pull request.

The commands and what is escaped in them:
https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands
"""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Diagnostic, Severity
from parc.render.text import printable

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def render(diagnostics: Iterable[Diagnostic]) -> str:
    """One line each."""
    return "".join(_command(each) for each in diagnostics)


def _command(diagnostic: Diagnostic) -> str:
    properties = {"title": diagnostic.code}
    if span := diagnostic.span:
        line, column = span.source.place(span.end)
        properties |= {"file": span.source.path, "line": str(span.line)}
        if line == span.line:  # columns are those of one line
            properties |= {"col": str(span.column), "endColumn": str(column)}
        else:
            properties |= {"endLine": str(span.last_line)}
    others = [label for label in diagnostic.labels if label.text and label.span != span]
    said = [diagnostic.message]
    said += [f"{label.span.source.path}:{label.span.line}: {label.text}" for label in others]
    said += [f"note: {note}" for note in diagnostic.notes]
    said += [f"help: {diagnostic.help}"] if diagnostic.help else []
    given = ",".join(f"{name}={_escaped(value, ':,')}" for name, value in properties.items())
    return f"::{COMMANDS[diagnostic.severity]} {given}::{_escaped(chr(10).join(said))}\n"


def _escaped(text: str, more: str = "") -> str:
    text = printable(text).replace("%", "%25")
    for sign in "\n" + more:
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text
