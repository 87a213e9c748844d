"""Tokens and the comments between them as nested pieces: what is kept when a text is laid out anew."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from parc.source import Source
from parc.syntax.scan import NUMBER, OPENERS
from parc.syntax.token import Token
from parc.syntax.units import UNITS

NAMES = {"NAME", "IMPORT", "LET", "FOR", "ON", "OVER"}
BEFORE_A_SIGN = {
    "PLUS",
    "MINUS",
    "TIMES",
    "DIVIDE",
    "EQUAL",
    "COLON",
    "RELATION",
}  # a minus after these is one
SEPARATORS = {"_NL", "_COMMA", "$END"}
GAP = re.compile(r"#[^\n]*|\n")


class Comment(NamedTuple):
    """One that has a line of its own. `blank`: a blank line goes before it."""

    text: str
    blank: bool


class Gap(NamedTuple):
    """What stands between two words."""

    newline: bool
    after: str  # the comment at the end of the first word's line
    comments: tuple[Comment, ...]
    blank: bool  # a blank line goes before the second word


@dataclass
class Group:
    """A bracket and its content; the whole file is one without signs."""

    signs: str  # "{}", "[]", "()" or nothing
    separated: bool  # by commas: a list, or the arguments of a call
    items: list[Item] = field(default_factory=list)
    after: str = ""  # the comment behind the opening sign
    last: tuple[Comment, ...] = ()  # comments after the last item
    broken: bool = False  # over several lines, by its author

    @cached_property
    def flat(self) -> str:
        """On one line."""
        inside = ", ".join(item.flat for item in self.items)
        space = " " if self.signs == "{}" and inside else ""
        return f"{self.signs[0]}{space}{inside}{space}{self.signs[1]}"


Part: TypeAlias = "str | Group"


@dataclass
class Item:
    """A statement, an entry or an argument: words and groups, each with whether a space goes before it."""

    comments: tuple[Comment, ...]
    blank: bool  # a blank line goes before it, and after its comments
    joined: bool  # it stands on the line of the item before it
    parts: list[tuple[Part, bool]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of the parts: types of tokens, or a group's signs
    after: str = ""  # the comment at the end of its line

    @cached_property
    def flat(self) -> str:
        return self.text(0, len(self.parts))

    def text(self, start: int, end: int) -> str:
        """The parts from `start` up to `end` on one line."""
        return "".join(
            (" " if spaced else "") + (part if isinstance(part, str) else part.flat)
            for part, spaced in self.parts[start:end]
        )

    @property
    def broken(self) -> bool:
        return any(not isinstance(part, str) and part.broken for part, _ in self.parts)


class Reader:
    """`tokens` are those of a text without faults."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.text = source.text
        self.tokens = [token for token in tokens if token.type not in SEPARATORS]
        self.gaps: list[Gap] = []  # the one before each token, and that at the end of the text
        end = 0
        for token in self.tokens:
            assert token.start_pos is not None
            self.gaps.append(_gap(self.text[end : token.start_pos], end == 0))
            end = token.end_pos or 0
        self.gaps.append(_gap(self.text[end:], end == 0))
        self.separated = _separated(tokens)  # whether a comma or a line's end goes before each token
        self.index = 0

    def file(self) -> Group:
        return self.group("", False, "")

    def group(self, signs: str, separated: bool, closer: str) -> Group:
        """Up to the closing sign of the kind `closer`, which is not taken."""
        group = Group(signs, separated, after=self.gaps[self.index].after if signs else "")
        group.broken = bool(signs) and self.gaps[self.index].newline
        while self.index < len(self.tokens) and self.tokens[self.index].type != closer:
            gap = self.gaps[self.index]
            joined = bool(group.items) and not gap.newline
            item = Item(gap.comments, gap.blank, joined)
            self.item(item, closer)
            group.items.append(item)
            group.broken |= bool(signs) and (self.gaps[self.index].newline or item.broken)
        group.last = self.gaps[self.index].comments
        if not (group.items or group.after or group.last):
            group.broken = False
        return group

    def item(self, item: Item, closer: str) -> None:
        while self.index < len(self.tokens):
            token = self.tokens[self.index]
            if token.type == closer or (item.parts and self.separated[self.index]):
                break
            before = item.kinds[-1] if item.kinds else ""
            signed = before == "MINUS" and (len(item.kinds) == 1 or item.kinds[-2] in BEFORE_A_SIGN)
            spaced = bool(before) and not signed and before != "DOT" and token.type not in ("DOT", "COLON")
            self.index += 1
            part: Part
            if token.type in OPENERS:
                call = token.type == "LPAR" and before in NAMES
                signs = {"LBRACE": "{}", "LSQB": "[]", "LPAR": "()"}[token.type]
                part = self.group(signs, call or signs == "[]", OPENERS[token.type])
                self.index += 1
                item.parts.append((part, spaced and not call))
                item.kinds.append(signs)
            else:
                item.parts.append((_word(token), spaced))
                item.kinds.append(token.type)
        item.after = self.gaps[self.index].after


def _separated(tokens: list[Token]) -> list[bool]:
    """For each token that is no separator, whether one goes before it."""
    kinds = ["", *(token.type for token in tokens)]
    return [before in SEPARATORS for before, kind in pairwise(kinds) if kind not in SEPARATORS]


def _gap(text: str, first: bool) -> Gap:
    """`first`: nothing goes before it, so that a comment has a line of its own."""
    after, comments = "", []
    newlines = int(first)  # since the last comment
    for found in GAP.findall(text):
        if found == "\n":
            newlines += 1
        elif newlines:
            comments.append(Comment(found.rstrip(), newlines > 1))
            newlines = 0
        else:
            after = found.rstrip()
    return Gap("\n" in text, after, tuple(comments), newlines > 1)


def _word(token: Token) -> str:
    """The token as it is written: one space before a unit, none before a percent sign."""
    if token.type != "QUANTITY":
        return str(token)
    number = NUMBER.match(token)
    assert number is not None
    rest = token[number.end() :]
    unit = rest.strip()
    spaced = len(rest) > len(unit) or unit in UNITS
    return number[0] + (" " if unit and spaced and unit != "%" else "") + unit


def words(reader: Reader) -> list[str]:
    """All that a text says, its comments and the ends of its statements included, without its layout."""
    said = []
    before = "LBRACE"
    for token, gap, separated in zip(reader.tokens, reader.gaps, reader.separated, strict=False):
        if separated and before not in OPENERS and token.type not in OPENERS.values():
            said.append(",")
        said += [gap.after, *(comment.text for comment in gap.comments), _word(token)]
        before = token.type
    return [*said, reader.gaps[-1].after, *(comment.text for comment in reader.gaps[-1].comments)]
