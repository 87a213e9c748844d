"""Diagnostics in the Static Analysis Results Interchange Format, version 2.1.0, for code scanners.

The numbers are those of sections in https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from urllib.parse import quote

from parc.check.pages import format_page, list_rules
from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.source import Source, Span

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}  # 3.27.10


def render(diagnostics: Iterable[Diagnostic]) -> str:
    diagnostics = list(diagnostics)
    codes = sorted({each.code for each in diagnostics})
    driver: dict[str, Any] = {"name": "parc", "rules": _rules(codes)}
    if number := _version():
        driver["version"] = number
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",  # 3.14.17
        "results": [_result(each, codes.index(each.code)) for each in diagnostics],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _version() -> str | None:
    try:
        return version("parc-compiler")
    except PackageNotFoundError:  # a bare checkout
        return None


def _rules(codes: list[str]) -> list[dict[str, Any]]:
    """What the codes mean, with the page of each (3.49)."""
    rules = {rule.code: rule for rule in list_rules()}
    return [
        {
            "id": code,
            "name": rules[code].name,
            "shortDescription": {"text": " ".join(rules[code].prose.split("\n\n")[0].split())},
            "help": {"text": format_page(code), "markdown": format_page(code)},
            "defaultConfiguration": {"level": LEVELS[rules[code].severity]},
        }
        for code in codes
    ]


def _result(diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    said = [diagnostic.message, *(f"note: {note}" for note in diagnostic.notes)]
    said += [f"help: {diagnostic.help}"] if diagnostic.help else []
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": LEVELS[diagnostic.severity],
        "message": {"text": "\n".join(said)},
    }
    primary = [label for label in diagnostic.labels if label.span == diagnostic.span][:1]
    others = [label for label in diagnostic.labels if label not in primary]
    if primary:
        result["locations"] = [_location(primary[0])]
    if others:
        result["relatedLocations"] = [_location(each) | {"id": at} for at, each in enumerate(others)]
    if diagnostic.fix:
        result["fixes"] = [_fix(diagnostic.fix)]
    return result


def _location(label: Label) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": _artifact(label.span.source) | {"region": _region(label.span)}
    }
    if label.text:
        location["message"] = {"text": label.text}
    return location


def _artifact(source: Source) -> dict[str, Any]:
    path = Path(source.path)
    uri = path.as_uri() if path.is_absolute() else quote(path.as_posix())
    return {"artifactLocation": {"uri": uri}}


def _region(span: Span) -> dict[str, int]:
    """An end column is that after the last character (3.30.8)."""
    line, column = span.source.place(span.end)
    return {"startLine": span.line, "startColumn": span.column, "endLine": line, "endColumn": column}


def _fix(fix: Fix) -> dict[str, Any]:
    """One change a file, with all of its replacements (3.55)."""
    sources = {id(span.source): span.source for span, _ in fix.edits}
    changes = [
        _artifact(source)
        | {
            "replacements": [
                {"deletedRegion": _region(span), "insertedContent": {"text": text}}
                for span, text in fix.edits
                if span.source is source
            ]
        }
        for source in sources.values()
    ]
    return {"description": {"text": fix.title}, "artifactChanges": changes}
