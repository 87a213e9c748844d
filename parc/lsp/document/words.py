"""Splits a text into words, whether or not it can be parsed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

WORD = re.compile(
    r'(?P<string>"(?:[^"\\\n]|\\[^\n])*"?)|(?P<comment>#[^\n]*)|(?P<line>\n)'
    r"|(?P<number>[0-9]+(?:_[0-9]+)*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?(?:[ \t]*(?:[^\W\d]\w*(?:/s\b)?|%))?)"
    r"|(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*\.?)|(?P<sign>[<>=!]=|[^\s\w\"#])"
)
WordKind: TypeAlias = Literal["string", "comment", "line", "number", "name", "sign"]


class Word(NamedTuple):
    """`line` is the end of a line; the unit of a `number` is part of it, and the path of a dotted `name`."""

    kind: WordKind
    text: str
    start: int
    end: int


def split_words(text: str, start: int, end: int) -> Iterator[Word]:
    """The words between two offsets, comments and ends of lines included."""
    for match in WORD.finditer(text, start, end):
        kind: WordKind = match.lastgroup  # type: ignore[assignment]  # the groups are named for the kinds
        yield Word(kind, match[0], match.start(), match.end())
