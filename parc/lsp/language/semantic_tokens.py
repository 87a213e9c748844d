"""Semantic tokens: the words of the text by their meaning, for colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import list_mentions
from parc.lsp.document.words import Word, split_words
from parc.plan.schema import TOP

TYPES = (
    "keyword",
    "type",
    "class",
    "property",
    "variable",
    "enumMember",
    "string",
    "number",
    "comment",
    "operator",
)
MODIFIERS = ("declaration",)
KEYWORDS = {"import", "let", "for", "on", "over"}
KINDS = {"let": "variable", "axis": "enumMember", "level": "enumMember"}


class SemanticToken(NamedTuple):
    start: int
    end: int
    type: str
    declares: bool = False


def list_tokens(analysis: Analysis, start: int = 0, end: int | None = None) -> Iterator[SemanticToken]:
    """The tokens between two offsets, in order. No token spans the end of a line."""
    text = analysis.source.text
    stop = len(text) if end is None else end
    named = {
        each.span.start: SemanticToken(
            *each.span[1:], KINDS.get(each.symbol.kind, "class"), each.is_definition
        )
        for each in list_mentions(analysis)
        if each.span.source is analysis.source and (each.symbol.kind != "let" or each.is_definition)
    }
    before: Word | None = None
    line = text.rfind("\n", 0, start) + 1
    for word in split_words(text, line, len(text)):
        if word.start >= stop:
            return
        if token := named.get(word.start) or _classify(text, word, before):
            yield token
        if word.kind != "comment":
            before = word


def _classify(text: str, word: Word, before: Word | None) -> SemanticToken | None:
    match word.kind:
        case "comment" | "string" | "number":
            return SemanticToken(word.start, word.end, word.kind)
        case "name" if word.text in KEYWORDS:
            return SemanticToken(word.start, word.end, "keyword")
        case "name":
            return SemanticToken(word.start, word.end, _classify_name(text, word, before))
        case "sign" if word.text in ("<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/"):
            return SemanticToken(word.start, word.end, "operator")
        case _:
            return None


def _classify_name(text: str, word: Word, before: Word | None) -> str:
    """The type of a name that is no symbol: the kind of a block, a key, or a value."""
    after = text[word.end : word.end + 80].lstrip(" \t")
    first = before is None or before.kind == "line" or before.text in ("{", ",")
    if first and after.startswith("=") and not after.startswith("=="):
        return "property"
    if first and (word.text in TOP or after[:1] == "{" or after[:1].isalpha()):
        return "type"
    return "property" if first else "enumMember"
