"""Edits of a plan's text that fixes are made of. Each keeps what stands around it, comments too."""

from __future__ import annotations

import re
from typing import TypeAlias

from parc.plan.blocks import Spanned
from parc.source import Span
from parc.syntax.fixes import remove_entry

Edit: TypeAlias = tuple[Span, str]


def replace_text(span: Span, text: object) -> Edit:
    return span, str(text)


def remove_key(block: Spanned, key: str) -> Edit:
    """Remove `key = ..` from a block, which has the key; and the braces of a strategy, if nothing is left."""
    value = block.spans[key]
    text = value.source.text
    assigned = re.search(rf"\b{re.escape(key)}\s*=\s*$", text[: value.start])
    option = value._replace(start=assigned.start() if assigned else value.start)
    ahead, behind = text[: option.start].rstrip(), text[option.end : block.span.end].strip()
    if "axes" in block.spans and ahead.endswith("{") and behind == "}":
        return Span(value.source, len(ahead[:-1].rstrip()), block.span.end), ""
    return remove_entry(option)


def insert_before(block: Spanned, statement: str) -> Edit:
    """Add a statement on a line of its own before the one that `block` is."""
    text, start = block.span.source.text, block.span.start
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:start] if not text[line:start].strip() else ""
    return block.span._replace(end=start), f"{statement}\n{indent}"


def set_key(block: Spanned, key: str, value: str) -> Edit:
    """Give `key` a value: where it stands, or on a last line of its own, or first in the body.

    A strategy over axes without a body gets one.
    """
    if key in block.spans:
        return replace_text(block.spans[key], value)
    source, text, end = block.span.source, block.span.source.text, block.span.end - 1
    head = block.spans["axes"].end if "axes" in block.spans else block.span.start
    brace, line = text.find("{", head, end), text.rfind("\n", 0, end) + 1
    if brace < 0:
        return Span(source, end + 1, end + 1), f" {{ {key} = {value} }}"
    if not text[line:end].strip():
        return Span(source, line, line), f"{text[line:end]}  {key} = {value}\n"
    more = "," if text[brace + 1 : end].strip() else ""
    return Span(source, brace + 1, brace + 1), f" {key} = {value}{more}"
