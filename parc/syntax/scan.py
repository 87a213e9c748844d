"""Splits a text into tokens for the parser. Invalid characters and exceeded limits are reported here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import chain, islice, pairwise
from math import isinf

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.source import Source, Span
from parc.syntax.foreign import replace_foreign
from parc.syntax.grammar import load_tables
from parc.syntax.token import Token

MAX_CHARACTERS = 256 * 1024
MAX_TOKENS = 30_000  # about 3,500 lines, which take a second
MAX_PART_TOKENS = 3_000  # of one top-level statement, which an editor parses at every keystroke
MAX_DEPTH = 32
MAX_DIGITS = 64
MAX_FAULTS = 50  # a text with more faults is not a plan file

NUMBER = re.compile(r"[0-9]+(_[0-9]+)*(\.[0-9]+)?([eE][+-]?[0-9]+)?")  # the start of the terminal QUANTITY
AND_WORD = re.compile(r"(.*\S)[ \t]+(\w+)")  # a QUANTITY with a blank before its unit
AND = re.compile(r"(?:(.*\S)[ \t]+)?and")  # alone, or in the place of the unit of a QUANTITY
VALUES = {"NAME", "QUANTITY", "STRING", "RPAR", "RSQB"}  # possible last tokens of a value
ENDS = {"_NL", "_COMMA", "LBRACE", "RBRACE"}  # of a statement
OPENERS = {"LBRACE": "RBRACE", "LSQB": "RSQB", "LPAR": "RPAR"}
CLOSERS = frozenset(OPENERS.values())


def get_span(source: Source, token: Token) -> Span:
    return Span(source, token.start_pos, token.end_pos)


def create_virtual_token(kind: str, before: Token) -> Token:
    """A token that the text does not contain, immediately before another one."""
    return Token(kind, "", before.start_pos, before.start_pos)


def create_end_token(offset: int) -> Token:
    return Token("$END", "", offset, offset)


def check_length(source: Source) -> Diagnostic | None:
    if len(source.text) <= MAX_CHARACTERS:
        return None
    message = f"the file has {len(source.text):,} characters; a plan file has at most {MAX_CHARACTERS:,}"
    return error("P005", message, Label(source.make_span(0, 1), "not read"))


def lex(source: Source, start: int = 0, end: int | None = None) -> Iterator[Token]:
    """The tokens between two offsets. Every character begins a terminal, if only JUNK."""
    keywords = _load_terminals()[2]
    for found in _find_terminals(source, start, end):
        kind, text = found.lastgroup, found[0]
        assert kind
        yield Token(keywords.get(text, kind) if kind == "NAME" else kind, text, *found.span())


def count_tokens(source: Source, most: int, start: int = 0, end: int | None = None) -> int:
    """The number of tokens between two offsets, up to `most`."""
    return sum(1 for _ in islice(_find_terminals(source, start, end), most))


def find_token(source: Source, number: int, start: int = 0) -> Span:
    """The span of the token of that number, from 0, after an offset."""
    return Span(source, *next(islice(_find_terminals(source, start, None), number, None)).span())


def _find_terminals(source: Source, start: int, end: int | None) -> Iterator[re.Match[str]]:
    terminals, ignored, _ = _load_terminals()
    found = terminals.finditer(source.text, start, len(source.text) if end is None else end)
    return (each for each in found if each.lastgroup not in ignored)


@cache
def _load_terminals() -> tuple[re.Pattern[str], tuple[str, ...], dict[str, str]]:
    """The pattern of all terminals, the ignored ones, and the keywords."""
    tables = load_tables()
    return re.compile(tables.terminals, tables.flags), tables.ignored, tables.keywords


def scan(source: Source, faults: list[Diagnostic]) -> list[Token]:
    """The tokens of a text with the end token; the latter alone if the text exceeds a limit."""
    if fault := check_length(source):
        faults.append(fault)
        return [create_end_token(0)]
    return check_tokens(source, lex(source), len(source.text), faults)


def check_tokens(source: Source, tokens: Iterable[Token], end: int, faults: list[Diagnostic]) -> list[Token]:
    """The valid tokens of a part that ends at `end`; the end token alone if the part exceeds a limit."""
    good: list[Token] = []
    depth = 0
    tokens = _split_units(replace_foreign(source, tokens, end, faults))
    for token in _report_invalid(source, _replace_and(source, tokens, faults), faults):
        depth += (token.type in OPENERS) - (token.type in CLOSERS)
        if depth > MAX_DEPTH:
            label = Label(get_span(source, token), "one too many")
            faults.append(error("P006", f"brackets are nested more than {MAX_DEPTH} deep", label))
            return [create_end_token(end)]
        if len(faults) > MAX_FAULTS:
            return [create_end_token(end)]
        good.append(token)
    return [*good, create_end_token(end)]


def _split_units(tokens: Iterable[Token]) -> Iterator[Token]:
    """Separate a word from a number if the word gets a value: `8 tp:` lacks a comma, `tp` is not a unit."""
    held: Token | None = None
    for token in tokens:
        if held and token.type in ("EQUAL", "COLON", "LBRACE") and (parts := AND_WORD.fullmatch(held)):
            yield from (
                _slice_token(held, "QUANTITY", parts.span(1)),
                _slice_token(held, "NAME", parts.span(2)),
            )
        elif held:
            yield held
        held = token
    if held:
        yield held


def _replace_and(source: Source, tokens: Iterable[Token], faults: list[Diagnostic]) -> Iterator[Token]:
    """Replace an `and` between two claims by a comma, with a report. Elsewhere it may be a unit or a name."""
    if "and" not in source.text:
        yield from tokens
        return
    claim, before = False, None
    for token, after in pairwise(chain(tokens, (None,))):
        assert token is not None
        joint = AND.fullmatch(token) if claim and after and after.type == "NAME" else None
        if joint and joint[1] and token.type == "QUANTITY":
            before = _slice_token(token, "QUANTITY", joint.span(1))
            yield before
        elif not (joint and not joint[1] and before and before.type in VALUES):
            claim = token.type == "RELATION" or (claim and token.type not in ENDS)
            before = token
            yield token
            continue
        assert before is not None
        word = get_span(source, token)._replace(start=get_span(source, token).end - len("and"))
        fix = Fix("write a comma", ((word._replace(start=before.end_pos or 0), ","),))
        message = "claims are separated by commas, not by `and`"
        help = "each claim is judged separately"
        faults.append(error("P001", message, Label(word, "a comma instead"), help=help, fix=fix))
        before = _slice_token(token, "_COMMA", (len(token) - len("and"), len(token)))
        claim = False
        yield before


def _slice_token(token: Token, kind: str, part: tuple[int, int]) -> Token:
    start, end = (token.start_pos + offset for offset in part)
    return Token(kind, token[slice(*part)], start, end)


def _report_invalid(source: Source, tokens: Iterable[Token], faults: list[Diagnostic]) -> Iterator[Token]:
    """Report and replace tokens that the parser cannot use."""
    for token in tokens:
        if token.type == "JUNK":
            faults.append(_describe_junk(token, get_span(source, token)))
            if token.startswith('"'):
                yield _clear_token(token, "STRING")
        elif token.type == "QUANTITY" and _is_too_large(token):
            label = Label(get_span(source, token), "more than any count or size")
            faults.append(error("P007", "this number is too large", label))
            yield _clear_token(token, "QUANTITY")
        else:
            yield token


def _describe_junk(token: Token, span: Span) -> Diagnostic:
    if token.startswith('"'):
        return error("P003", "this string is not closed", Label(span, 'no `"` before the end of the line'))
    help = fix = None
    if token[0] in "'`":
        help = 'texts are in double quotes: `"corpus/*.txt"`'
    elif token[0] == ";":
        help = "statements end at the end of the line or at a comma"
        rest = span.source.get_line(span.line)[span.column :].partition("#")[0].strip(" \t;}")
        fix = Fix("write a comma", ((span, ","),)) if rest else Fix("remove it", ((span, ""),))
    label = Label(span, "unexpected")
    return error("P002", f"`{token}` is not part of the language", label, help=help, fix=fix)


def _is_too_large(token: Token) -> bool:
    number = NUMBER.match(token)
    assert number is not None
    return len(number[0]) > MAX_DIGITS or isinf(float(number[0]))


def _clear_token(token: Token, kind: str) -> Token:
    return Token(kind, "", token.start_pos, token.end_pos)
