"""What surrounds the cursor: read from the words before it, so that the text need not be complete.

Only the part of the text that has the cursor is read (`parc/syntax/parts.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from parc.lsp.document.words import Word, split_words
from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key
from parc.source import Source
from parc.syntax.parts import OPENERS, OpenBrackets, split_text


@dataclass
class Bracket:
    """A bracket that is open at the cursor. The outermost one is the file, without opener and head."""

    opener: str = ""
    head: list[Word] = field(default_factory=list)  # the words of the statement before the bracket
    words: list[Word] = field(default_factory=list)  # those of the current statement in it
    keys: set[str] = field(default_factory=set)  # of earlier statements in it
    blocks: set[str] = field(default_factory=set)
    count: int = 0  # of earlier statements, or entries of a list

    @property
    def kind(self) -> str:
        """The kind of the block that a body belongs to, `adamw` for `optimizer = adamw {`."""
        texts = [word.text for word in self.head]
        if "=" in texts:
            return texts[-1]
        return texts[0] if texts else ""

    @property
    def key(self) -> str:
        """The key whose value is being written."""
        words = self.words
        return words[0].text if len(words) > 1 and words[1].text == "=" else ""

    def end_statement(self) -> None:
        """Ends the current statement, and notes its key or its block."""
        if self.key:
            self.keys.add(self.key)
        elif self.words and self.words[0].kind == "name":
            self.blocks.add(self.words[0].text)
        self.words = []
        self.count += 1


@dataclass(frozen=True)
class CursorContext:
    offset: int
    brackets: tuple[Bracket, ...]  # outermost first
    word: Word | None  # the word at the offset, or that ends there
    typed: str  # the part of it before the offset

    @property
    def body(self) -> Bracket:
        """The innermost body, or the file."""
        return next(bracket for bracket in reversed(self.brackets) if bracket.opener in ("", "{"))

    @property
    def inner(self) -> Bracket:
        """The innermost bracket."""
        return self.brackets[-1]

    @property
    def form(self) -> Form | None:
        """What the schema admits in the body; None for the file and for an unknown block."""
        form: Form | None = None
        for bracket in self.brackets[1:]:
            if bracket.opener == "{":
                form = form.find_block(bracket.kind) if form else TOP.get(bracket.kind)
                if form is None:
                    return None
        return form

    @property
    def key(self) -> Key | None:
        """The key whose value has the cursor, if the schema knows it."""
        form = self.form
        return form.find_key(self.body.key) if form else None

    @property
    def top(self) -> Bracket | None:
        """The top-level block."""
        return self.brackets[1] if len(self.brackets) > 1 else None


def find_context(source: Source, offset: int) -> CursorContext:
    """What surrounds the cursor at an offset."""
    text = source.text
    start, end = [part for part in split_text(text) if part[0] <= offset][-1]
    brackets, opened = [Bracket()], OpenBrackets()
    touched: Word | None = None
    for word in split_words(text, start, end):
        if word.start > offset:
            break
        if word.end >= offset and word.kind not in ("line", "sign"):
            touched = word
            break
        if word.start == offset:  # a sign right after the cursor
            break
        if word.kind == "number" and not text[word.end : offset].strip(" \t"):
            touched = word._replace(end=offset)  # its unit is to come
            break
        _read_word(brackets, opened, word)
    typed = text[touched.start : offset] if touched else ""
    return CursorContext(offset, tuple(brackets), touched, typed)


def _read_word(brackets: list[Bracket], opened: OpenBrackets, word: Word) -> None:
    inner = brackets[-1]
    match word.text:
        case "{" | "[" | "(":
            opened.open(word.text)
            brackets.append(Bracket(word.text, inner.words))
            inner.words = [*inner.words, word]
        case "}" | "]" | ")":
            opened.close(OPENERS[word.text])
            del brackets[1 + opened.depth :]
        case ",":
            inner.end_statement()
        case _ if word.kind == "line":
            if inner.opener in ("", "{"):
                inner.end_statement()
        case _ if word.kind != "comment":
            inner.words.append(word)
