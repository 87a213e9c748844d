"""The tokens and comments of a text as nested pieces: what formatting preserves."""

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
}  # a minus after these is a sign
SEPARATORS = {"_NL", "_COMMA", "$END"}
GAP = re.compile(r"#[^\n]*|\n")


class Comment(NamedTuple):
    """A comment on a separate line. `blank`: a blank line precedes it."""

    text: str
    blank: bool


class Gap(NamedTuple):
    """What is between two tokens."""

    newline: bool
    after: str  # the comment at the end of the line of the first token
    comments: tuple[Comment, ...]
    blank: bool  # a blank line precedes the second token


@dataclass
class Group:
    """A bracket and its content; the whole file is a group without signs."""

    signs: str  # "{}", "[]", "()" or nothing
    separated: bool  # by commas: a list, or the arguments of a call
    items: list[Item] = field(default_factory=list)
    after: str = ""  # the comment after the opening sign
    last: tuple[Comment, ...] = ()  # comments after the last item
    broken: bool = False  # over several lines in the original text

    @cached_property
    def flat(self) -> str:
        """The text on one line."""
        inside = ", ".join(item.flat for item in self.items)
        space = " " if self.signs == "{}" and inside else ""
        return f"{self.signs[0]}{space}{inside}{space}{self.signs[1]}"


Part: TypeAlias = "str | Group"


@dataclass
class Item:
    """A statement, an entry or an argument: tokens and groups, each with whether a space precedes it."""

    comments: tuple[Comment, ...]
    blank: bool  # a blank line precedes it, after its comments
    joined: bool  # it is on the line of the previous item
    parts: list[tuple[Part, bool]] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)  # of the parts: types of tokens, or signs of groups
    after: str = ""  # the comment at the end of its line

    @cached_property
    def flat(self) -> str:
        return self.text(0, len(self.parts))

    def text(self, start: int, end: int) -> str:
        """The parts from `start` to `end` on one line."""
        return "".join(
            (" " if spaced else "") + (part if isinstance(part, str) else part.flat)
            for part, spaced in self.parts[start:end]
        )

    @property
    def broken(self) -> bool:
        return any(not isinstance(part, str) and part.broken for part, _ in self.parts)


class PieceReader:
    """Reads the tokens of a text without faults."""

    def __init__(self, source: Source, tokens: list[Token]) -> None:
        self.text = source.text
        self.tokens = [token for token in tokens if token.type not in SEPARATORS]
        self.gaps: list[Gap] = []  # before each token, and at the end of the text
        end = 0
        for token in self.tokens:
            assert token.start_pos is not None
            self.gaps.append(_parse_gap(self.text[end : token.start_pos], end == 0))
            end = token.end_pos or 0
        self.gaps.append(_parse_gap(self.text[end:], end == 0))
        self.separated = _find_separated(tokens)  # whether a comma or the end of a line precedes each token
        self.index = 0

    def read_file(self) -> Group:
        return self.read_group("", False, "")

    def read_group(self, signs: str, separated: bool, closer: str) -> Group:
        """Read up to the closing sign of the kind `closer`, which is not consumed."""
        group = Group(signs, separated, after=self.gaps[self.index].after if signs else "")
        group.broken = bool(signs) and self.gaps[self.index].newline
        while self.index < len(self.tokens) and self.tokens[self.index].type != closer:
            gap = self.gaps[self.index]
            joined = bool(group.items) and not gap.newline
            item = Item(gap.comments, gap.blank, joined)
            self.read_item(item, closer)
            group.items.append(item)
            group.broken |= bool(signs) and (self.gaps[self.index].newline or item.broken)
        group.last = self.gaps[self.index].comments
        if not (group.items or group.after or group.last):
            group.broken = False
        return group

    def read_item(self, item: Item, closer: str) -> None:
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
                part = self.read_group(signs, call or signs == "[]", OPENERS[token.type])
                self.index += 1
                item.parts.append((part, spaced and not call))
                item.kinds.append(signs)
            else:
                item.parts.append((_format_word(token), spaced))
                item.kinds.append(token.type)
        item.after = self.gaps[self.index].after


def _find_separated(tokens: list[Token]) -> list[bool]:
    """For each token other than separators, whether a separator precedes it."""
    kinds = ["", *(token.type for token in tokens)]
    return [before in SEPARATORS for before, kind in pairwise(kinds) if kind not in SEPARATORS]


def _parse_gap(text: str, first: bool) -> Gap:
    """The gap of this text. `first`: it is at the start of the file, so that a comment has its own line."""
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


def _format_word(token: Token) -> str:
    """The formatted token: with one space before a unit, none before a percent sign."""
    if token.type != "QUANTITY":
        return str(token)
    number = NUMBER.match(token)
    assert number is not None
    rest = token[number.end() :]
    unit = rest.strip()
    spaced = len(rest) > len(unit) or unit in UNITS
    return number[0] + (" " if unit and spaced and unit != "%" else "") + unit


def list_words(reader: PieceReader) -> list[str]:
    """The tokens of a text, with comments and the ends of statements, without its layout."""
    found = []
    before = "LBRACE"
    for token, gap, separated in zip(reader.tokens, reader.gaps, reader.separated, strict=False):
        if separated and before not in OPENERS and token.type not in OPENERS.values():
            found.append(",")
        found += [gap.after, *(comment.text for comment in gap.comments), _format_word(token)]
        before = token.type
    return [*found, reader.gaps[-1].after, *(comment.text for comment in reader.gaps[-1].comments)]
