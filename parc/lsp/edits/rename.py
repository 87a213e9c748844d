"""Checks whether a symbol can be renamed."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from parc.check.load import Loaded
from parc.diagnostic import Diagnostic, Severity
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import Edit, apply_edits
from parc.lsp.document.mentions import find_definition, find_uses, list_mentions
from parc.lsp.document.symbols import Symbol
from parc.lsp.document.workspace import Workspace
from parc.plan.imports import HARDWARE

WORD = re.compile(r"[^\W\d]\w*")


RESERVED = {"import", "let", "for", "on", "over", "true", "false"}  # no name may be one of these


def is_fixed(analysis: Analysis, symbol: Symbol) -> bool:
    """Whether the symbol cannot be renamed: it is defined nowhere, or in a file of parc itself."""
    defined = find_definition(analysis, symbol)
    return defined is None or defined.path.is_relative_to(HARDWARE)


def refuse_rename(
    workspace: Workspace, analyses: Sequence[Analysis], symbol: Symbol, name: str
) -> str | None:
    """Why the symbol cannot be renamed to `name`; None if it can.

    `analyses` are those of the file that names it and of all others that may see it.
    """
    if is_fixed(analyses[0], symbol):
        return f"`{symbol.name}` is not defined in a file of yours"
    if not WORD.fullmatch(name) or name in RESERVED:
        return f"`{name}` is not a name: a name has letters, digits and `_`, and does not begin with a digit"
    for other in analyses:
        if find_definition(other, symbol) and find_definition(other, symbol._replace(name=name)):
            return f"the {symbol.kind} `{name}` exists already"
        if symbol.kind == "let" and any(
            each.symbol == symbol._replace(name=name) for each in list_mentions(other)
        ):
            return f"the word `{name}` is in use already, and would refer to the constant"
    return _find_new_error(workspace, analyses, symbol, name)


def _find_new_error(
    workspace: Workspace, analyses: Sequence[Analysis], symbol: Symbol, name: str
) -> str | None:
    """The first error that the new name would add."""
    edits: dict[Path, list[Edit]] = {}
    texts: dict[Path, str] = {}
    for each in find_uses(analyses, symbol):
        edits.setdefault(each.path, []).append((each.span.start, each.span.end, name))
        texts[each.path] = each.span.source.text
    texts = {path: apply_edits(texts[path], each) for path, each in edits.items()}
    for other in analyses:
        then = workspace.load_with_texts(other.path, texts) if edits.keys() & other.files.keys() else None
        now = Counter(fault.code for fault in _list_errors(other.loaded))
        for fault in _list_errors(then) if then else ():
            now[fault.code] -= 1
            if now[fault.code] < 0:
                return f"the name `{name}` would cause an error: {fault.code}: {fault.message}"
    return None


def _list_errors(loaded: Loaded) -> list[Diagnostic]:
    return [each for each in loaded.diagnostics if each.severity is Severity.ERROR]
