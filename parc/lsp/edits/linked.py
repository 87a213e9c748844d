"""The same name at other places of one file: to highlight, and to edit together."""

from __future__ import annotations

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import Mention, find_definition, find_uses, list_analyses, list_mentions
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.rename import is_fixed

LOCAL = ("axis", "let")  # names that are rarely used in other files


def list_same(analysis: Analysis, mention: Mention) -> list[Mention]:
    """All mentions of the same symbol in the file itself."""
    return [
        each
        for each in list_mentions(analysis)
        if each.symbol == mention.symbol and each.span.source is analysis.source
    ]


def list_linked(workspace: Workspace, analysis: Analysis, mention: Mention) -> list[Mention]:
    """The mentions that may be typed over together: all that there are, if they are in one file."""
    symbol = mention.symbol
    defined = find_definition(analysis, symbol)
    if symbol.kind not in LOCAL or is_fixed(analysis, symbol) or defined is None:
        return []
    same = list_same(analysis, mention)
    if symbol.kind == "let":
        analyses = list_analyses(workspace, analysis, symbol)
        if len(find_uses(analyses, symbol)) != len(same):
            return []
    return same if defined.span.source is analysis.source else []
