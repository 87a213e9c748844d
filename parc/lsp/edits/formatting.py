"""Formats a text, or a range of it, in the canonical style."""

from __future__ import annotations

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import Edit, find_difference
from parc.source import Source
from parc.syntax.format import format_source
from parc.syntax.parse import parse_part
from parc.syntax.parts import split_text


def format_file(analysis: Analysis) -> list[Edit]:
    """No edits if the text has a syntax error: its meaning could not be kept."""
    if _has_syntax_errors(analysis):
        return []
    return find_difference(analysis.source.text, format_source(analysis.source))


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
