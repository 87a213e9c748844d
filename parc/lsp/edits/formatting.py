"""Formats a text, or a range of it, in the canonical style."""

from __future__ import annotations

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import find_context
from parc.lsp.document.edits import Edit, find_difference
from parc.source import Source
from parc.syntax.format import format_source
from parc.syntax.format.lines import INDENT
from parc.syntax.parse import parse_part
from parc.syntax.parts import split_text


def format_file(analysis: Analysis) -> list[Edit]:
    """No edits if the text has a syntax error: its meaning could not be kept."""
    if _has_syntax_errors(analysis):
        return []
    return find_difference(analysis.source.text, format_source(analysis.source))


def format_typed(analysis: Analysis, offset: int, typed: str) -> list[Edit]:
    """After a closing bracket, its statement if it is complete; after the end of a line, the indentation."""
    if typed != "\n":
        return format_range(analysis, max(offset - 1, 0), offset)
    text = analysis.source.text
    start = text.rfind("\n", 0, offset) + 1
    end = start + len(text[start:]) - len(text[start:].lstrip(" \t"))
    context = find_context(analysis.source, start)
    depth = len(context.brackets) - 1 - (text[end : end + 1] in ("}", "]", ")"))
    indent = INDENT * max(depth, 0)
    return [(start, end, indent)] if text[start:end] != indent else []


def _has_syntax_errors(analysis: Analysis) -> bool:
    faults = [each for each in analysis.loaded.diagnostics if each.code.startswith("P00")]
    return any(each.span and each.span.source is analysis.source for each in faults)


def format_range(analysis: Analysis, start: int, end: int) -> list[Edit]:
    """The top-level statements that the range touches, except those with a syntax error."""
    edits: list[Edit] = []
    text, faulty = analysis.source.text, _has_syntax_errors(analysis)
    for begin, stop in split_text(text):
        piece = Source(analysis.source.path, text[begin:stop])
        touched = begin < max(end, start + 1) and start < stop
        if touched and not (faulty and parse_part(piece).faults):
            body = piece.text.rstrip("\n")
            canonical = format_source(Source(piece.path, body)).rstrip("\n")
            for first, last, replacement in find_difference(body, canonical):
                edits.append((begin + first, begin + last, replacement))
    return edits
