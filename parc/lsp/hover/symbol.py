"""Describes blocks, constants and levels by their definitions."""

from __future__ import annotations

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import Mention, list_mentions
from parc.lsp.document.symbols import Symbol
from parc.lsp.markdown import format_code, format_code_block


def describe_symbol(analysis: Analysis, definition: Mention) -> str:
    """The first line of the definition; for a constant also where it is used."""
    symbol, span = definition.symbol, definition.span
    where = "" if definition.path == analysis.real_path else f" in {format_code(definition.path.name)}"
    line = span.source.get_line(span.line).strip()
    lines = [f"**{symbol.kind}** {format_code(symbol.name)}{where}", "", *format_code_block((line,))]
    if symbol.kind == "let":
        lines += ["", _describe_uses(analysis, symbol)]
    return "\n".join(lines)


def _describe_uses(analysis: Analysis, symbol: Symbol) -> str:
    places = [
        f"line {each.span.line}"
        + ("" if each.path == analysis.real_path else f" of {format_code(each.path.name)}")
        for each in list_mentions(analysis)
        if each.symbol == symbol and not each.is_definition
    ]
    return f"used on {', '.join(places)}" if places else "not used"
