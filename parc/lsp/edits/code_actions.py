"""Code actions: fixes of diagnostics, comments that allow them, refactorings at the cursor."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

from parc.check.allow.comments import explain_refusal
from parc.check.fixing import Texts, fix_texts
from parc.check.pages import list_rules
from parc.diagnostic import Diagnostic
from parc.lsp.document.analysis import Analysis, resolve_path
from parc.lsp.document.cursor import find_context
from parc.lsp.document.edits import Edit, find_difference
from parc.lsp.edits.legal_values import MAX_SECONDS
from parc.lsp.edits.refactors import list_refactors

ActionKind: TypeAlias = Literal["quickfix", "refactor.rewrite", "source.fixAll.parc"]
FIX_ALL: Literal["source.fixAll.parc"] = "source.fixAll.parc"
MAX_TOUCHED = 50  # diagnostics that actions are offered for
REASON = "reason"  # a placeholder that the user replaces


class Action(NamedTuple):
    title: str
    kind: ActionKind
    edits: dict[Path, list[Edit]]
    safe: bool = True  # whether the plan keeps its meaning
    diagnostic: Diagnostic | None = None  # the one that it fixes


def list_actions(analysis: Analysis, start: int, end: int) -> Iterator[Action]:
    """The actions for what the selection touches."""
    found = (each for each in analysis.loaded.diagnostics if _touches(analysis, each, start, end))
    touched = list(islice(found, MAX_TOUCHED))
    offered = []
    for action in (each for diagnostic in touched for each in _build_fix(diagnostic)):
        if (action.title, action.edits) not in offered:  # one edit may fix several diagnostics
            offered.append((action.title, action.edits))
            yield action
    for diagnostic in touched:
        yield from _build_allow(analysis, diagnostic)
    yield from (
        Action(title, "refactor.rewrite", {analysis.real_path: edits}, safe=False)
        for title, edits in list_refactors(analysis, find_context(analysis.source, start), touched)
    )


def _touches(analysis: Analysis, diagnostic: Diagnostic, start: int, end: int) -> bool:
    """Whether the selection touches a label of the diagnostic."""
    return any(
        label.span.source is analysis.source and label.span.start <= end and start <= label.span.end
        for label in diagnostic.labels
    )


def _build_fix(diagnostic: Diagnostic) -> Iterator[Action]:
    fix = diagnostic.fix
    if fix is None:
        return
    edits: dict[Path, list[Edit]] = {}
    for span, text in fix.edits:
        edits.setdefault(resolve_path(span.source.path), []).append((span.start, span.end, text))
    grade = "" if fix.safe else " (unsafe: a guess)"
    yield Action(f"{fix.title}{grade}", "quickfix", edits, fix.safe, diagnostic)


def _build_allow(analysis: Analysis, diagnostic: Diagnostic) -> Iterator[Action]:
    """A comment that allows the finding, on a line of its own above it."""
    rule = next((rule for rule in list_rules() if rule.code == diagnostic.code), None)
    span = diagnostic.span
    if rule is None or explain_refusal(rule) or span is None or span.source is not analysis.source:
        return
    text = analysis.source.text
    line = analysis.source.line_starts[span.line - 1]
    indent = text[line : line + len(text[line:]) - len(text[line:].lstrip(" \t"))]
    comment = f"{indent}# parc: allow {diagnostic.code} -- {REASON}\n"
    title = f"allow {diagnostic.code} here, with a reason"
    yield Action(title, "quickfix", {analysis.real_path: [(line, line, comment)]}, False, diagnostic)


def build_fix_all(analysis: Analysis) -> Action | None:
    """One action with all safe fixes, and the safe fixes of what they uncover; None if there are none."""
    if not any(each.fix and each.fix.safe for each in analysis.loaded.diagnostics):
        return None
    path = str(analysis.real_path)

    def check(texts: Texts) -> tuple[Diagnostic, ...]:
        return analysis.load_text(analysis.path, texts[path]).diagnostics

    mended = fix_texts({path: analysis.source.text}, check, seconds=MAX_SECONDS)
    if not mended.fixes:
        return None
    edits = find_difference(analysis.source.text, mended.texts[path])
    return Action("fix all that can be fixed safely", FIX_ALL, {analysis.real_path: edits})
