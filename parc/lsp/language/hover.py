"""What is said of the word under the cursor."""

from __future__ import annotations

import re

from parc.check.claims.verdict import judge, shown
from parc.check.codes.pages import page
from parc.lsp.document import names
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import Place, find
from parc.lsp.language import docs, flows
from parc.lsp.language.axes import of_axis, of_strategy
from parc.plan.blocks import Plan
from parc.plan.schema import TOP
from parc.source import Span

CODE = re.compile(r"\bP[0-9]{3}\b")
STRATEGIES = ("data", "tensor", "experts", "pipeline")


def hover(analysis: Analysis, offset: int) -> tuple[str, Span] | None:
    """Markdown, and the characters that it is about."""
    place = find(analysis.source, offset)
    if place.word is None:
        return None
    span = analysis.source.span(place.word.start, place.word.end)
    if place.word.kind == "comment":
        return _code(analysis, offset, span)
    if found := _claim(analysis, offset):
        return found
    said = _said(analysis, place, offset)
    return (said, span) if said else None


def _code(analysis: Analysis, offset: int, comment: Span) -> tuple[str, Span] | None:
    for match in CODE.finditer(comment.text):
        start, end = comment.start + match.start(), comment.start + match.end()
        if start <= offset <= end and (text := page(match[0])):
            return text, analysis.source.span(start, end)
    return None


def _claim(analysis: Analysis, offset: int) -> tuple[str, Span] | None:
    """The verdict of the claim under the cursor, with its derivation."""
    plan = analysis.plan(offset)
    for claim in plan.expect if plan else ():
        if analysis.covers(claim, offset):
            assert plan is not None
            verdict = next(each for each in judge(plan) if each.claim is claim)
            span = analysis.whole(claim.span)
            if verdict.figure is None:
                return f"**not judged**: {verdict.missing}", span
            word = "holds" if verdict.holds else "does not hold"
            doubt = ", but is within the error of the cost model" if verdict.doubtful else ""
            title = f"**{word}**{doubt}: `{claim.subject}` is {shown(verdict.figure)}"
            return "\n".join([title, "", *_code_block(verdict.derivation())]), span
    return None


def _code_block(lines: tuple[str, ...]) -> list[str]:
    return ["```text", *lines, "```"]


def _said(analysis: Analysis, place: Place, offset: int) -> str | None:
    word, form = place.word, place.form
    assert word is not None
    mention = names.at(analysis, offset)
    plan = analysis.plan(offset)
    if mention and mention.symbol.kind == "axis" and plan:
        return of_axis(plan, mention.symbol.name)
    if mention:
        return _name(analysis, mention)
    if word.kind == "number":
        return flows.of_quantity(analysis, place)
    words = place.inner.words
    if not words and place.body.opener == "":
        return docs.of_form(TOP[word.text]) if word.text in TOP else None
    if form is None or place.inner is not place.body:
        return None
    if not words and (inner := form.find_block(word.text)) and not _is_assigned(analysis, word.end):
        return _block(docs.of_form(inner), plan, word.text)
    if not words and (key := form.find_key(word.text)):
        return docs.of_key(form, key)
    if place.key:
        return docs.of_key(form, place.key)
    return None


def _is_assigned(analysis: Analysis, end: int) -> bool:
    return analysis.source.text[end : end + 40].lstrip(" \t").startswith("=")


def _block(said: str, plan: Plan | None, kind: str) -> str:
    if plan is None or kind not in STRATEGIES:
        return said
    return "\n".join([said, "", *_code_block(of_strategy(plan, kind))])


def _name(analysis: Analysis, mention: names.Mention) -> str | None:
    """What a name stands for: the first line of its definition."""
    found = names.definition(analysis, mention.symbol)
    if found is None:
        return None
    where = "" if found.path == analysis.key else f" in `{found.path.name}`"
    line = found.span.source.line(found.span.line).strip()
    said = [f"**{mention.symbol.kind}** `{mention.symbol.name}`{where}", "", *_code_block((line,))]
    if mention.symbol.kind == "let":
        said += ["", flows.of_constant(analysis, mention.symbol.name)]
    return "\n".join(said)
