"""Describes the word at an offset."""

from __future__ import annotations

import re

from parc.check.claims.verdict import format_value, judge
from parc.check.pages import format_page
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext, find_context
from parc.lsp.document.mentions import Mention, find_definition, find_mention
from parc.lsp.hover.axes import describe_axis, describe_strategy
from parc.lsp.hover.number import describe_number
from parc.lsp.hover.symbol import describe_symbol
from parc.lsp.language.schema_docs import describe_form, describe_key, link_reference
from parc.lsp.markdown import escape_unprintable, format_code, format_code_block
from parc.plan.schema import TOP
from parc.plan.schema.form import Form
from parc.plan.schema.meanings import describe_choice
from parc.source import Span

CODE = re.compile(r"\bP[0-9]{3}\b")
STRATEGIES = ("data", "tensor", "experts", "pipeline")


def describe_word(analysis: Analysis, offset: int) -> tuple[str, Span] | None:
    """A text in Markdown, and the characters that it is about."""
    context = find_context(analysis.source, offset)
    if context.word is None:
        return None
    span = analysis.source.make_span(context.word.start, context.word.end)
    if context.word.kind == "comment":
        return _describe_code(analysis, offset, span)
    if found := _describe_claim(analysis, offset):
        return found
    if mention := find_mention(analysis, offset):
        text = _describe_mention(analysis, mention, offset)
    elif context.word.kind == "number":
        text = describe_number(analysis, context) or _describe_schema(analysis, context)
    else:
        text = _describe_schema(analysis, context)
    return (text, span) if text else None


def _describe_code(analysis: Analysis, offset: int, comment: Span) -> tuple[str, Span] | None:
    """The page of the rule whose code is at the offset."""
    for match in CODE.finditer(comment.text):
        start, end = comment.start + match.start(), comment.start + match.end()
        if start <= offset <= end and (text := format_page(match[0])):
            return text, analysis.source.make_span(start, end)
    return None


def _describe_claim(analysis: Analysis, offset: int) -> tuple[str, Span] | None:
    """The verdict of the claim at the offset, with its derivation."""
    plan = analysis.find_plan(offset)
    claim = next((each for each in plan.expect if analysis.covers(each, offset)), None) if plan else None
    if plan is None or claim is None:
        return None
    verdict = next(each for each in judge(analysis.find_costs(plan)) if each.claim is claim)
    span = analysis.locate(claim.span)
    if verdict.figure is None:
        return f"**not judged**: {escape_unprintable(verdict.missing)}", span
    word = "holds" if verdict.holds else "does not hold"
    doubt = ", within the error of the cost model" if verdict.doubtful else ""
    title = f"**{word}**{doubt}: {format_code(claim.subject)} is {format_value(verdict.figure)}"
    return "\n".join([title, "", *format_code_block(verdict.format_derivation())]), span


def _describe_mention(analysis: Analysis, mention: Mention, offset: int) -> str | None:
    plan = analysis.find_plan(offset)
    if mention.symbol.kind == "axis" and plan:
        return describe_axis(plan, mention.symbol.name)
    definition = find_definition(analysis, mention.symbol)
    return describe_symbol(analysis, definition) if definition else None


def _describe_schema(analysis: Analysis, context: CursorContext) -> str | None:
    """The documentation of a block or of a key; of a value, that of its key."""
    word, form, words = context.word, context.form, context.inner.words
    assert word is not None
    if not words and context.body.opener == "":
        return _add_link(TOP[word.text], describe_form(TOP[word.text])) if word.text in TOP else None
    if form is None or context.inner is not context.body:
        return None
    if not words:
        assigned = analysis.source.text[word.end : word.end + 40].lstrip(" \t").startswith("=")
        if (inner := form.find_block(word.text)) and not assigned:
            return _add_figures(analysis, context, _add_link(inner, describe_form(inner)))
        if key := form.find_key(word.text):
            return _add_link(form, describe_key(form, key))
    if (key := context.key) is None:
        return None
    meaning = describe_choice(form.kind, key.name, word.text)
    described = _add_link(form, describe_key(form, key))
    return f"**`{word.text}`**: {meaning}\n\n{described}" if meaning else described


def _add_link(form: Form, text: str) -> str:
    return f"{text}\n\n{link_reference(form)}"


def _add_figures(analysis: Analysis, context: CursorContext, text: str) -> str:
    """The documentation of a block, with the figures of its strategy if it is one."""
    plan = analysis.find_plan(context.offset)
    word = context.word
    assert word is not None
    if plan is None or word.text not in STRATEGIES:
        return text
    return "\n".join([text, "", *format_code_block(describe_strategy(analysis.find_costs(plan), word.text))])
