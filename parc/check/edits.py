"""Edits of a plan's text that fixes are made of. Each keeps what stands around it, comments too."""

from __future__ import annotations

import re
from typing import TypeAlias

from parc.plan.blocks import Spanned
from parc.source import Span

Edit: TypeAlias = tuple[Span, str]


def replaced(span: Span, text: object) -> Edit:
    return span, str(text)


def without(span: Span) -> Edit:
    """Take out an entry of a list or a statement, and the comma or the line that it leaves behind."""
    text, start, end = span.source.text, span.start, span.end
    line = text.rfind("\n", 0, start) + 1
    if comma := re.compile(r"[ \t]*,[ \t]*").match(text, end):
        end = comma.end()
    elif comma := re.search(r"\s*,\s*$", text[:start]):
        start = comma.start()
    elif not text[line:start].strip() and (rest := re.compile(r"[ \t]*\n").match(text, end)):
        start, end = line, rest.end()
    return Span(span.source, start, end), ""


def without_option(block: Spanned, key: str) -> Edit:
    """Take out `key = ..` of a block, which has the key; and the braces of a strategy, if nothing is left."""
    value = block.spans[key]
    text = value.source.text
    assigned = re.search(rf"\b{re.escape(key)}\s*=\s*$", text[: value.start])
    option = value._replace(start=assigned.start() if assigned else value.start)
    ahead, behind = text[: option.start].rstrip(), text[option.end : block.span.end].strip()
    if "axes" in block.spans and ahead.endswith("{") and behind == "}":
        return Span(value.source, len(ahead[:-1].rstrip()), block.span.end), ""
    return without(option)


def before(block: Spanned, statement: str) -> Edit:
    """Add a statement on a line of its own before the one that `block` is."""
    text, start = block.span.source.text, block.span.start
    line = text.rfind("\n", 0, start) + 1
    indent = text[line:start] if not text[line:start].strip() else ""
    return block.span._replace(end=start), f"{statement}\n{indent}"


def option(block: Spanned, key: str, value: str) -> Edit:
    """Give `key` a value in `block`, a strategy over axes: where it stands, or else first of its body."""
    if key in block.spans:
        return replaced(block.spans[key], value)
    text = block.span.source.text
    brace = text.find("{", block.spans["axes"].end, block.span.end)
    if brace < 0:
        return Span(block.span.source, block.span.end, block.span.end), f" {{ {key} = {value} }}"
    body = text[brace + 1 : block.span.end - 1]
    more = "," if body.strip() else ""
    return Span(block.span.source, brace + 1, brace + 1), f" {key} = {value}{more}"


def setting(block: Spanned, key: str, value: str) -> Edit:
    """Give `key` a value in any `block` with a body: where it stands, on a last line of its own, or first."""
    if key in block.spans:
        return replaced(block.spans[key], value)
    text, end = block.span.source.text, block.span.end - 1
    line = text.rfind("\n", 0, end) + 1
    if not text[line:end].strip():
        return Span(block.span.source, line, line), f"{text[line:end]}  {key} = {value}\n"
    brace = text.index("{", block.span.start)
    more = "," if text[brace + 1 : end].strip() else ""
    return Span(block.span.source, brace + 1, brace + 1), f" {key} = {value}{more}"
