"""Completes numbers: legal values first, and units after a number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from parc.lsp.completion.declared import find_block_text, list_cluster_levels
from parc.lsp.completion.item import Item
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.edits.legal_values import list_candidates, order_candidates, parse_axes
from parc.plan import subjects
from parc.syntax import units

DIGITS = re.compile(r"[0-9._]+")


def list_numbers(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    """Numbers that may stand at the cursor, and the units that may follow a number."""
    word = context.word if context.word and context.word.kind == "number" else None
    if word and (digits := DIGITS.match(word.text)):
        dimension = _find_dimension(analysis, context)
        yield from (replace(each, insert=f"{digits[0]} {each.label}") for each in _list_units(dimension))
    start, end = (word.start, word.end) if word else (context.offset, context.offset)
    candidates = _list_candidates(analysis, context)
    for order, (value, legal) in enumerate(order_candidates(analysis, start, end, candidates)):
        detail = "fits" if legal else "leaves more errors"
        yield Item(str(value), "value", str(value), detail=detail, order=order)


def _find_dimension(analysis: Analysis, context: CursorContext) -> units.Dimension:
    """What the number measures: that of its key, or of the subject of its claim."""
    form, words = context.form, context.inner.words
    if form and form.claims and words:
        subject = subjects.find_subject(words[0].text, list_cluster_levels(analysis))
        return subject.dimension if subject else units.NUMBER
    return context.key.dimension if context.key else units.NUMBER


def _list_units(dimension: units.Dimension) -> Iterator[Item]:
    for order, (name, (_, measures)) in enumerate(units.UNITS.items()):
        if measures == dimension and dimension != units.NUMBER:
            yield Item(
                name, "unit", name, detail=units.describe_dimension(dimension).split(",")[0], order=order
            )


def _list_candidates(analysis: Analysis, context: CursorContext) -> list[int]:
    key = context.key.name if context.key else ""
    plan = analysis.find_plan(context.offset) or next(iter(analysis.plans), None)
    others = 1  # ranks along the other axes of the mesh
    if key == "mesh":
        words = reversed(context.inner.words)
        current = next((each.text for each in words if each.kind == "name"), "")
        for axis, size in parse_axes(find_block_text(analysis, context)).items():
            others *= size if axis != current else 1
    return list_candidates(plan, key, others)
