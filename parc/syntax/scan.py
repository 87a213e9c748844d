"""Text to tokens that the parser can digest: what is odd, too deep or too long is told here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, pairwise
from math import isinf

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.source import Source, Span
from parc.syntax import table
from parc.syntax.token import Token

MAX_CHARACTERS = 256 * 1024
MAX_TOKENS = 30_000  # about 3,500 lines: what takes a second
MAX_DEPTH = 32
MAX_DIGITS = 64
MAX_FAULTS = 50  # a text with more is not a plan file

NUMBER = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # how the terminal QUANTITY begins
AND_WORD = re.compile(r"(.*\S)[ \t]+(\w+)")  # a QUANTITY whose unit stands apart
AND = re.compile(r"(?:(.*\S)[ \t]+)?and")  # alone, or as the unit of a QUANTITY
VALUES = {"NAME", "QUANTITY", "STRING", "RPAR", "RSQB"}  # how a value may end
ENDS = {"_NL", "_COMMA", "LBRACE", "RBRACE"}  # of a statement
OPENERS = {"LBRACE": "RBRACE", "LSQB": "RSQB", "LPAR": "RPAR"}
CLOSERS = frozenset(OPENERS.values())


def place(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos, token.end_pos)


def stand_in(kind: str, before: Token) -> Token:
    """A token that the text does not have, just before one that it has."""
    return Token(kind, "", before.start_pos, before.start_pos)


def end_at(offset: int) -> Token:
    return Token("$END", "", offset, offset)


def too_long(source: Source) -> Diagnostic | None:
    if len(source.text) <= MAX_CHARACTERS:
        return None
    message = f"the file has {len(source.text):,} characters; a plan file has at most {MAX_CHARACTERS:,}"
    return error("P005", message, Label(source.span(0, 1), "not read"))


def lex(source: Source) -> Iterator[Token]:
    """The words of a text as they stand, among them those that mean nothing.

    Every character begins some terminal, JUNK if no other.
    """
    terminals, ignored, keywords = _terminals()
    for found in terminals.finditer(source.text):
        kind = found.lastgroup
        if kind and kind not in ignored:
            text = found[0]
            yield Token(keywords.get(text, kind) if kind == "NAME" else kind, text, *found.span())


@cache
def _terminals() -> tuple[re.Pattern[str], tuple[str, ...], dict[str, str]]:
    """All of them, those that are left out, and names that are keywords."""
    tables = table.read()
    return re.compile(tables.terminals, tables.flags), tables.ignored, tables.keywords


def scan(source: Source, faults: list[Diagnostic]) -> list[Token]:
    """The tokens of a text, the end included; that one alone where it is no plan file at all."""
    if fault := too_long(source):
        faults.append(fault)
        return [end_at(0)]
    return checked(source, lex(source), len(source.text), faults)


def checked(source: Source, tokens: Iterable[Token], end: int, faults: list[Diagnostic]) -> list[Token]:
    """The tokens of a stretch of the text that ends at `end`; that end alone where it is no plan at all."""
    good: list[Token] = []
    depth = 0
    for token in _readable(source, _claims(source, _parted(tokens), faults), faults):
        depth += (token.type in OPENERS) - (token.type in CLOSERS)
        if depth > MAX_DEPTH:
            label = Label(place(source, token), "one too many")
            faults.append(error("P006", f"brackets nest more than {MAX_DEPTH} deep", label))
            return [end_at(end)]
        if len(faults) > MAX_FAULTS:
            return [end_at(end)]
        good.append(token)
    return [*good, end_at(end)]


def _parted(tokens: Iterable[Token]) -> Iterator[Token]:
    """A word after a number is its unit, but not where it is given a value: `8 tp:` lacks a comma."""
    held: Token | None = None
    for token in tokens:
        if held and token.type in ("EQUAL", "COLON", "LBRACE") and (parts := AND_WORD.fullmatch(held)):
            yield from (_part(held, "QUANTITY", parts.span(1)), _part(held, "NAME", parts.span(2)))
        elif held:
            yield held
        held = token
    if held:
        yield held


def _claims(source: Source, tokens: Iterable[Token], faults: list[Diagnostic]) -> Iterator[Token]:
    """An `and` between two claims, which might be a unit or a name anywhere else, is taken for a comma."""
    if "and" not in source.text:
        yield from tokens
        return
    claim, before = False, None
    for token, after in pairwise(chain(tokens, (None,))):
        assert token is not None
        joint = AND.fullmatch(token) if claim and after and after.type == "NAME" else None
        if joint and joint[1] and token.type == "QUANTITY":
            before = _part(token, "QUANTITY", joint.span(1))
            yield before
        elif not (joint and not joint[1] and before and before.type in VALUES):
            claim = token.type == "RELATION" or (claim and token.type not in ENDS)
            before = token
            yield token
            continue
        assert before is not None
        word = place(source, token)._replace(start=place(source, token).end - len("and"))
        fix = Fix("write a comma", ((word._replace(start=before.end_pos or 0), ","),))
        message = "claims are joined by a comma, not by `and`"
        help = "all claims are to hold, each stands for itself"
        faults.append(error("P001", message, Label(word, "a comma instead"), help=help, fix=fix))
        before = _part(token, "_COMMA", (len(token) - len("and"), len(token)))
        claim = False
        yield before


def _part(token: Token, kind: str, part: tuple[int, int]) -> Token:
    start, end = (token.start_pos + offset for offset in part)
    return Token(kind, token[slice(*part)], start, end)


def _readable(source: Source, tokens: Iterable[Token], faults: list[Diagnostic]) -> Iterator[Token]:
    for token in tokens:
        if token.type == "JUNK":
            faults.append(_junk(token, place(source, token)))
            if token.startswith('"'):
                yield _emptied(token, "STRING")
        elif token.type == "QUANTITY" and _too_large(token):
            label = Label(place(source, token), "more than any count or size")
            faults.append(error("P007", "this number is too large", label))
            yield _emptied(token, "QUANTITY")
        else:
            yield token


def _junk(token: Token, span: Span) -> Diagnostic:
    if token.startswith('"'):
        return error("P003", "this string is never closed", Label(span, 'no `"` before the end of the line'))
    help = fix = None
    if token[0] in "'`":
        help = 'text stands between double quotes: `"corpus/*.txt"`'
    elif token[0] == ";":
        help = "a statement ends at the end of its line or at a comma"
        rest = span.source.line(span.line)[span.column :].partition("#")[0].strip(" \t;}")
        fix = Fix("write a comma", ((span, ","),)) if rest else Fix("leave it out", ((span, ""),))
    label = Label(span, "not part of the language")
    return error("P002", f"`{token}` has no meaning here", label, help=help, fix=fix)


def _too_large(token: Token) -> bool:
    number = NUMBER.match(token)
    assert number is not None
    return len(number[0]) > MAX_DIGITS or isinf(float(number[0]))


def _emptied(token: Token, kind: str) -> Token:
    return Token(kind, "", token.start_pos, token.end_pos)
