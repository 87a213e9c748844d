"""Where the cursor is, read from the words before it: that works in texts which are half typed.

Only the part of the text that the cursor is in is looked at (`parc/syntax/parts.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

from parc.plan.schema import TOP
from parc.plan.schema.form import Form, Key
from parc.source import Source
from parc.syntax.parts import cut

WORD = re.compile(
    r'(?P<string>"(?:[^"\\\n]|\\[^\n])*"?)|(?P<comment>#[^\n]*)|(?P<line>\n)'
    r"|(?P<number>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?:[ \t]*(?:[^\W\d]\w*(?:/s\b)?|%))?)"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?)|(?P<sign>[<>=!]=|[^\s\w\"#])"
)
Kind: TypeAlias = Literal["string", "comment", "line", "number", "name", "sign"]
CLOSERS = {"}": "{", "]": "[", ")": "("}


class Word(NamedTuple):
    kind: Kind
    text: str
    start: int
    end: int


@dataclass
class Frame:
    """An open bracket: `opener` is it, `head` the words of the statement before it; the file has neither.

    `words` are those of the statement at hand in it, `keys` and `blocks` what stands in it already.
    """

    opener: str = ""
    head: list[Word] = field(default_factory=list)
    words: list[Word] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    blocks: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        """Of a body: the kind of its block, `adamw` for `optimizer = adamw {`."""
        texts = [word.text for word in self.head]
        if "=" in texts:
            return texts[-1]
        return texts[0] if texts else ""

    @property
    def label(self) -> str:
        if len(self.head) < 2 or self.head[1].kind != "name" or self.head[1].text in ("for", "on", "over"):
            return ""
        return self.head[1].text

    @property
    def key(self) -> str:
        """The key whose value is being written."""
        words = self.words
        return words[0].text if len(words) > 1 and words[1].text == "=" else ""

    def end(self) -> None:
        """A statement is over."""
        if self.key:
            self.keys.add(self.key)
        elif self.words and self.words[0].kind == "name":
            self.blocks.add(self.words[0].text)
        self.words = []


@dataclass(frozen=True)
class Place:
    """`word` is the one that the offset touches, `before` what of it stands before the offset."""

    offset: int
    frames: tuple[Frame, ...]
    word: Word | None
    before: str

    @property
    def body(self) -> Frame:
        """The innermost body, or the file."""
        return next(frame for frame in reversed(self.frames) if frame.opener in ("", "{"))

    @property
    def inner(self) -> Frame:
        """The innermost bracket."""
        return self.frames[-1]

    @property
    def form(self) -> Form | None:
        """What the body may hold; None for the file, and where nothing is known of the block."""
        form: Form | None = None
        for frame in self.frames[1:]:
            if frame.opener == "{":
                form = form.find_block(frame.kind) if form else TOP.get(frame.kind)
                if form is None:
                    return None
        return form

    @property
    def key(self) -> Key | None:
        """The key whose value the cursor is in, as far as the schema has it."""
        form = self.form
        return form.find_key(self.body.key) if form else None

    @property
    def top(self) -> Frame | None:
        """The top-level block."""
        return self.frames[1] if len(self.frames) > 1 else None


def find(source: Source, offset: int) -> Place:
    text = source.text
    start, end = [part for part in cut(text) if part[0] <= offset][-1]
    frames = [Frame()]
    touched: Word | None = None
    for word in words(text, start, end):
        if word.start > offset:
            break
        signs = word.kind in ("line", "sign")
        if word.end >= offset and not signs:
            touched = word
            break
        if word.start == offset:  # a sign, which the cursor is before
            break
        if word.kind == "number" and not text[word.end : offset].strip(" \t"):
            touched = word._replace(end=offset)  # its unit is to come
            break
        _step(frames, word)
    before = text[touched.start : offset] if touched else ""
    return Place(offset, tuple(frames), touched, before)


def words(text: str, start: int, end: int) -> Iterator[Word]:
    for match in WORD.finditer(text, start, end):
        kind: Kind = match.lastgroup  # type: ignore[assignment]  # the groups are named for the kinds
        yield Word(kind, match[0], match.start(), match.end())


def _step(frames: list[Frame], word: Word) -> None:
    inner = frames[-1]
    match word.text:
        case "{" | "[" | "(":
            frames.append(Frame(word.text, inner.words))
            inner.words = [*inner.words, word]
        case "}" | "]" | ")":
            _close(frames, CLOSERS[word.text])
        case ",":
            inner.end()
        case _ if word.kind == "line":
            if inner.opener in ("", "{"):
                inner.end()
        case _ if word.kind != "comment":
            inner.words.append(word)


def _close(frames: list[Frame], opener: str) -> None:
    """Close the innermost bracket of this kind; a brace closes what was forgotten in it."""
    depth = len(frames) - 1
    while depth and frames[depth].opener != opener:
        if frames[depth].opener == "{":
            return
        depth -= 1
    if depth:
        del frames[depth:]
