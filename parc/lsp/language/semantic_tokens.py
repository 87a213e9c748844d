"""Words of the text by what they mean, for colours."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import Word, words
from parc.lsp.document.names import mentions
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


class Token(NamedTuple):
    start: int
    end: int
    type: str
    declares: bool = False


def tokens(analysis: Analysis, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """In order; no token spans a line's end."""
    text = analysis.source.text
    stop = len(text) if end is None else end
    named = {
        each.span.start: Token(*each.span[1:], KINDS.get(each.symbol.kind, "class"), each.defines)
        for each in mentions(analysis)
        if each.span.source is analysis.source and (each.symbol.kind != "let" or each.defines)
    }
    before: Word | None = None
    line = text.rfind("\n", 0, start) + 1
    for word in words(text, line, len(text)):
        if word.start >= stop:
            return
        if token := named.get(word.start) or _plain(text, word, before):
            yield token
        if word.kind != "comment":
            before = word


def _plain(text: str, word: Word, before: Word | None) -> Token | None:
    match word.kind:
        case "comment" | "string" | "number":
            return Token(word.start, word.end, word.kind)
        case "name" if word.text in KEYWORDS:
            return Token(word.start, word.end, "keyword")
        case "name":
            return Token(word.start, word.end, _of_name(text, word, before))
        case "sign" if word.text in ("<=", ">=", "==", "!=", "<", ">", "+", "-", "*", "/"):
            return Token(word.start, word.end, "operator")
        case _:
            return None


def _of_name(text: str, word: Word, before: Word | None) -> str:
    """A name that stands for nothing else: a kind of block, a key, or a word that is a value."""
    after = text[word.end : word.end + 80].lstrip(" \t")
    first = before is None or before.kind == "line" or before.text in ("{", ",")
    if first and after.startswith("=") and not after.startswith("=="):
        return "property"
    if first and (word.text in TOP or after[:1] == "{" or after[:1].isalpha()):
        return "type"
    return "property" if first else "enumMember"
