"""Completes the text at an offset."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from parc.lsp.completion.comments import list_comment_words
from parc.lsp.completion.item import Item
from parc.lsp.completion.model import list_argument_keys, list_argument_values
from parc.lsp.completion.numbers import list_numbers
from parc.lsp.completion.statements import list_claimed, list_head_words, list_statements, list_top_level
from parc.lsp.completion.values import list_bracket_values, list_values
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext, find_context


def complete(analysis: Analysis, offset: int) -> list[Item]:
    """The completion items at an offset; inside a comment, only those of comments to parc."""
    context = find_context(analysis.source, offset)
    word = context.word
    if word and word.kind == "comment":
        return list(list_comment_words(analysis, word, offset))
    start = word.start if word and word.kind in ("name", "string", "number") else offset
    end = word.end if word and word.end >= offset else offset
    items = _list_items(analysis, context)
    return [replace(each, start=start, end=max(end, start)) if not each.end else each for each in items]


def _list_items(analysis: Analysis, context: CursorContext) -> Iterator[Item]:
    inner, body = context.inner, context.body
    words = [each.text for each in inner.words]
    if context.form and context.form.kind == "arguments" and inner is body:
        return (list_argument_values if body.key else list_argument_keys)(analysis, context)
    if context.word and context.word.kind == "number":
        claimed = list_claimed(analysis, context, words) if context.form and context.form.claims else ()
        return chain(list_numbers(analysis, context), claimed)
    if inner.opener in ("[", "("):
        return list_bracket_values(analysis, context)
    if body.opener == "":
        return list_top_level(analysis, words)
    if body.key:
        return list_values(analysis, context)
    if words:
        return list_head_words(analysis, context, words)
    return list_statements(analysis, context)
