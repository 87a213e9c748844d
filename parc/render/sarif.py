"""Diagnostics in the Static Analysis Results Interchange Format (SARIF) 2.1.0, for code scanners.

Numbers in comments refer to sections of https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from os import fsencode
from pathlib import Path
from typing import Any
from urllib.parse import quote

from parc.check.pages import format_page, list_rules
from parc.diagnostic import Diagnostic, Fix, Label, Severity
from parc.source import Source, Span
from parc.version import find_version

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}  # 3.27.10


def render(diagnostics: Iterable[Diagnostic]) -> str:
    diagnostics = list(diagnostics)
    codes = sorted({each.code for each in diagnostics})
    driver: dict[str, Any] = {"name": "parc", "rules": _describe_rules(codes)}
    if number := find_version():
        driver["version"] = number
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",  # 3.14.17
        "results": [_convert_result(each, codes.index(each.code)) for each in diagnostics],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2) + "\n"


def _describe_rules(codes: list[str]) -> list[dict[str, Any]]:
    """The reporting descriptors of the codes (3.49), with their pages."""
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


def _convert_result(diagnostic: Diagnostic, rule: int) -> dict[str, Any]:
    lines = [diagnostic.message, *(f"note: {note}" for note in diagnostic.notes)]
    lines += [f"help: {diagnostic.help}"] if diagnostic.help else []
    result: dict[str, Any] = {
        "ruleId": diagnostic.code,
        "ruleIndex": rule,
        "level": LEVELS[diagnostic.severity],
        "message": {"text": "\n".join(lines)},
    }
    primary = [label for label in diagnostic.labels if label.span == diagnostic.span][:1]
    others = [label for label in diagnostic.labels if label not in primary]
    if primary:
        result["locations"] = [_convert_location(primary[0])]
    if others:
        result["relatedLocations"] = [_convert_location(each) | {"id": at} for at, each in enumerate(others)]
    if diagnostic.fix:
        result["fixes"] = [_convert_fix(diagnostic.fix)]
    return result


def _convert_location(label: Label) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": _convert_source(label.span.source) | {"region": _convert_region(label.span)}
    }
    if label.text:
        location["message"] = {"text": label.text}
    return location


def _convert_source(source: Source) -> dict[str, Any]:
    path = Path(source.path)
    uri = path.as_uri() if path.is_absolute() else quote(fsencode(path.as_posix()))
    return {"artifactLocation": {"uri": uri}}


def _convert_region(span: Span) -> dict[str, int]:
    """The end column is that after the last character (3.30.8)."""
    line, column = span.source.locate(span.end)
    return {"startLine": span.line, "startColumn": span.column, "endLine": line, "endColumn": column}


def _convert_fix(fix: Fix) -> dict[str, Any]:
    """One change per file, with all of its replacements (3.55)."""
    sources = {id(span.source): span.source for span, _ in fix.edits}
    changes = [
        _convert_source(source)
        | {
            "replacements": [
                {"deletedRegion": _convert_region(span), "insertedContent": {"text": text}}
                for span, text in fix.edits
                if span.source is source
            ]
        }
        for source in sources.values()
    ]
    return {"description": {"text": fix.title}, "artifactChanges": changes}
