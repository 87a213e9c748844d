"""The canonical style, of a text or of a stretch of it."""

from __future__ import annotations

from parc.lsp.document.analysis import Analysis, Edit, difference
from parc.source import Source
from parc.syntax.format import formatted
from parc.syntax.parse import part
from parc.syntax.parts import cut


def whole(analysis: Analysis) -> list[Edit]:
    """No edits where the text has a fault of syntax: what it says cannot be kept then."""
    faults = [each for each in analysis.loaded.diagnostics if each.code.startswith("P00")]
    if any(each.span and each.span.source is analysis.source for each in faults):
        return []
    return difference(analysis.source.text, formatted(analysis.source))


def stretch(analysis: Analysis, start: int, end: int) -> list[Edit]:
    """Of the top-level statements that the stretch touches, those without a fault of syntax."""
    edits: list[Edit] = []
    text = analysis.source.text
    for begin, stop in cut(text):
        piece = Source(analysis.source.path, text[begin:stop])
        if begin < max(end, start + 1) and start < stop and not part(piece).faults:
            body = piece.text.rstrip("\n")
            laid_out = formatted(Source(piece.path, body)).rstrip("\n")
            edits += [
                (begin + first, begin + last, instead) for first, last, instead in difference(body, laid_out)
            ]
    return edits
