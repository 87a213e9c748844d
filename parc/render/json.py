"""Diagnostics as JSON, for scripts: one object; its `version` changes when a field goes or changes its sense.

Lines and columns are counted from 1, in characters; an end is the place after the last character.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from parc.diagnostic import Diagnostic
from parc.source import Span

VERSION = 1


def render(diagnostics: Iterable[Diagnostic]) -> str:
    found = [_diagnostic(each) for each in diagnostics]
    return json.dumps({"version": VERSION, "diagnostics": found}, indent=2) + "\n"


def _diagnostic(diagnostic: Diagnostic) -> dict[str, Any]:
    fix = diagnostic.fix
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity.value,
        "message": diagnostic.message,
        "labels": [
            _place(label.span) | {"text": label.text, "primary": label.primary} for label in diagnostic.labels
        ],
        "notes": list(diagnostic.notes),
        "help": diagnostic.help,
        "fix": fix
        and {
            "title": fix.title,
            "safe": fix.safe,
            "edits": [_place(span) | {"text": text} for span, text in fix.edits],
        },
    }


def _place(span: Span) -> dict[str, Any]:
    line, column = span.source.place(span.end)
    return {
        "file": span.source.path,
        "start": {"line": span.line, "column": span.column},
        "end": {"line": line, "column": column},
    }
