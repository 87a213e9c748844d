"""Resolves `launch` blocks."""

from __future__ import annotations

from parc.plan import blocks
from parc.plan.resolve.reader import BlockReader
from parc.plan.resolve.values import Quantity, Word


def resolve_launch(kind: str, plan: str, block: BlockReader) -> blocks.Launch:
    options: dict[str, blocks.Scalar] = {}
    for key in block.assignments:
        value = block.evaluate_word(key)
        if isinstance(value, Quantity):
            options[key] = value.number
        elif isinstance(value, Word):
            options[key] = value.text
        elif isinstance(value, bool | str):
            options[key] = value
    block.finish()
    return blocks.Launch(kind=kind, plan=plan, options=options, span=block.span, spans=block.spans)
