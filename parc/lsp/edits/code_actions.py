"""What can be done about a diagnostic, or at the cursor: edits with a title, each graded safe or unsafe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from parc.check.codes.pages import all_rules
from parc.check.fixing import Texts, mend
from parc.diagnostic import Diagnostic
from parc.lsp.document.analysis import Analysis, Edit, difference, real
from parc.lsp.document.cursor import find
from parc.lsp.edits.refactors import refactors

Kind: TypeAlias = Literal["quickfix", "refactor.rewrite", "source.fixAll.parc"]
FIX_ALL: Literal["source.fixAll.parc"] = "source.fixAll.parc"
REASON = "reason"  # what is to be written instead of it


class Action(NamedTuple):
    """`mends` is the diagnostic that it is for; `safe` means that the plan goes on saying what it says."""

    title: str
    kind: Kind
    edits: dict[Path, list[Edit]]
    safe: bool = True
    mends: Diagnostic | None = None


def actions(analysis: Analysis, start: int, end: int) -> Iterator[Action]:
    """Those for what the selection touches."""
    touched = [each for each in analysis.loaded.diagnostics if _touches(analysis, each, start, end)]
    offered = []
    for action in (each for diagnostic in touched for each in _fix(diagnostic)):
        if (action.title, action.edits) not in offered:  # one edit may mend several faults
            offered.append((action.title, action.edits))
            yield action
    for diagnostic in touched:
        yield from _allow(analysis, diagnostic)
    yield from (
        Action(title, "refactor.rewrite", {analysis.key: edits}, safe=False)
        for title, edits in refactors(analysis, find(analysis.source, start), touched)
    )


def _touches(analysis: Analysis, diagnostic: Diagnostic, start: int, end: int) -> bool:
    """Whether a guilty place of the file is in the selection."""
    return any(
        label.span.source is analysis.source and label.span.start <= end and start <= label.span.end
        for label in diagnostic.labels
    )


def _fix(diagnostic: Diagnostic) -> Iterator[Action]:
    fix = diagnostic.fix
    if fix is None:
        return
    edits: dict[Path, list[Edit]] = {}
    for span, text in fix.edits:
        edits.setdefault(real(span.source.path), []).append((span.start, span.end, text))
    grade = "" if fix.safe else " (unsafe: a guess)"
    yield Action(f"{fix.title}{grade}", "quickfix", edits, fix.safe, diagnostic)


def _allow(analysis: Analysis, diagnostic: Diagnostic) -> Iterator[Action]:
    """A comment on a line of its own, before the one where the finding is reported."""
    rule = next((rule for rule in all_rules() if rule.code == diagnostic.code), None)
    span = diagnostic.span
    if rule is None or rule.predicate is None or span is None or span.source is not analysis.source:
        return
    text = analysis.source.text
    line = analysis.source.line_starts[span.line - 1]
    indent = text[line : line + len(text[line:]) - len(text[line:].lstrip(" \t"))]
    comment = f"{indent}# parc: allow {diagnostic.code} -- {REASON}\n"
    title = f"allow {diagnostic.code} here, with a reason"
    yield Action(title, "quickfix", {analysis.key: [(line, line, comment)]}, False, diagnostic)


def fix_all(analysis: Analysis) -> Action | None:
    """Every safe fix, and those of what they uncover; None where there is nothing to fix."""
    path = str(analysis.key)

    def check(texts: Texts) -> tuple[Diagnostic, ...]:
        return analysis.trial(analysis.path, texts[path]).diagnostics

    mended = mend({path: analysis.source.text}, check)
    if not mended.fixes:
        return None
    edits = difference(analysis.source.text, mended.texts[path])
    return Action("fix all that can be fixed safely", FIX_ALL, {analysis.key: edits})
