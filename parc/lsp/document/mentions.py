"""Where names are mentioned: in a plan file and all that it imports, or in the whole workspace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from parc.lsp.document.analysis import Analysis, resolve_path
from parc.lsp.document.symbols import Symbol, list_symbols
from parc.lsp.document.workspace import Workspace
from parc.source import Span


class Mention(NamedTuple):
    symbol: Symbol
    span: Span  # in the whole text
    is_definition: bool
    path: Path


def list_mentions(analysis: Analysis) -> list[Mention]:
    """Every name in the file and in all that it imports, in order."""
    return [
        Mention(symbol, analysis.locate(span), is_definition, path)
        for path, file in analysis.files.items()
        for statement in file.statements
        for symbol, span, is_definition in list_symbols(statement)
    ]


def find_mention(analysis: Analysis, offset: int) -> Mention | None:
    """The name at the offset, or that ends there."""
    for mention in list_mentions(analysis):
        there = mention.span.source is analysis.source and mention.span.start <= offset <= mention.span.end
        if there and _is_known(analysis, mention.symbol):
            return mention
    return None


def _is_known(analysis: Analysis, symbol: Symbol) -> bool:
    """Whether the name is defined, for words that may be a constant or a level or neither."""
    return symbol.kind not in ("let", "level") or find_definition(analysis, symbol) is not None


def find_definition(analysis: Analysis, symbol: Symbol) -> Mention | None:
    """Where the symbol is defined, in the file or in one that it imports."""
    found = (each for each in list_mentions(analysis) if each.symbol == symbol and each.is_definition)
    return next(found, None)


def find_uses(analyses: Sequence[Analysis], symbol: Symbol) -> list[Mention]:
    """All mentions of the symbol that the first of the files means, in all of them, by file and place."""
    defined = find_definition(analyses[0], symbol)
    if defined is None:
        return []
    found: dict[tuple[Path, int], Mention] = {}
    for other in analyses:
        there = find_definition(other, symbol)
        if there and (there.path, there.span.start) == (defined.path, defined.span.start):
            for each in list_mentions(other):
                if each.symbol == symbol:
                    found.setdefault((each.path, each.span.start), each)
    return sorted(found.values(), key=lambda each: (str(each.path), each.span.start))


def list_analyses(workspace: Workspace, analysis: Analysis, symbol: Symbol) -> list[Analysis]:
    """The file, and all others of the workspace that may see the symbol, each real file once."""
    defined = find_definition(analysis, symbol)
    if defined is None:
        return [analysis]
    others = workspace.analyse_all(importing=resolve_path(str(defined.path)))
    return [analysis, *(each for each in others if each.real_path != analysis.real_path)]
