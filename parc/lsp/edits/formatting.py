"""Formats a text, a range of it, or what was just typed, in the canonical style."""

from __future__ import annotations

from collections.abc import Iterator

from parc.diagnostic import Diagnostic
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import find_context
from parc.lsp.document.edits import Edit, find_difference
from parc.source import Source
from parc.syntax.format import format_source
from parc.syntax.format.lines import INDENT
from parc.syntax.parts import split_text
from parc.syntax.scan import MAX_FAULTS


def format_file(analysis: Analysis) -> list[Edit]:
    """No edits if the text has a syntax error: its meaning could not be kept."""
    if _list_syntax_errors(analysis):
        return []
    return find_difference(analysis.source.text, format_source(analysis.source))


def format_range(analysis: Analysis, start: int, end: int) -> list[Edit]:
    """The top-level statements that the range touches, except those with a syntax error."""
    edits: list[Edit] = []
    for begin, stop in _list_faultless_runs(analysis, start, end):
        body = analysis.source.text[begin:stop].rstrip("\n")
        canonical = format_source(Source(analysis.source.path, body)).rstrip("\n")
        for first, last, replacement in find_difference(body, canonical):
            edits.append((begin + first, begin + last, replacement))
    return edits


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


def _list_faultless_runs(analysis: Analysis, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Begin and end of neighbouring statements that the range touches, none of them with a syntax error."""
    faults = _list_syntax_errors(analysis)
    if len(faults) > MAX_FAULTS:  # nothing after them was parsed
        return
    places = [label.span.start for fault in faults for label in fault.labels]
    text, run = analysis.source.text, None
    for begin, stop in split_text(text):
        faulty = any(begin <= place < stop + (stop == len(text)) for place in places)
        if begin < max(end, start + 1) and start < stop and not faulty:
            run = (run[0] if run else begin, stop)
        elif run:
            yield run
            run = None
    if run:
        yield run


def _list_syntax_errors(analysis: Analysis) -> list[Diagnostic]:
    """Those of the file itself."""
    faults = [each for each in analysis.loaded.diagnostics if each.code.startswith("P00")]
    return [each for each in faults if each.span and each.span.source is analysis.source]
