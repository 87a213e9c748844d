"""Diagnostics as one JSON object. Its `version` changes when a field is removed or changes its meaning.

Lines and columns are counted in characters from 1; the end is the position after the last character.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from parc.diagnostic import Diagnostic
from parc.source import Span

VERSION = 1


def render(diagnostics: Iterable[Diagnostic]) -> str:
    found = [_convert_diagnostic(each) for each in diagnostics]
    return json.dumps({"version": VERSION, "diagnostics": found}, indent=2) + "\n"


def _convert_diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    fix = diagnostic.fix
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "labels": [
            _convert_span(label.span) | {"text": label.text, "primary": label.primary}
            for label in diagnostic.labels
        ],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
        "fix": fix
        and {
            "title": fix.title,
            "safe": fix.safe,
            "edits": [_convert_span(span) | {"text": text} for span, text in fix.edits],
        },
    }


def _convert_span(span: Span) -> dict[str, Any]:
    line, column = span.source.locate(span.end)
    return {
        "file": span.source.path,
        "start": {"line": span.line, "column": span.column},
        "end": {"line": line, "column": column},
    }
