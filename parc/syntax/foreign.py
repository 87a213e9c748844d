"""Forms of other languages in a text of tokens: each is reported with its cure, and replaced by parc's form.

Comments of C (`//`, `/* */`), texts in single quotes, and digits that are grouped by commas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from parc.diagnostic import Diagnostic, Fix, Label, error
from parc.source import Source, Span
from parc.syntax.token import Token

IMPORT = re.compile(r"\bimport[ \t]+[^\W\d]")
COMMENT = re.compile(r"(?<![\w\"*/.])/[/*]")  # no part of a path
GROUPED = re.compile(r"[0-9],[0-9]{3}")
QUOTED = re.compile(r"'([^'\\\n]*)'")
UNQUOTED = re.compile(r"[\w.:/-]+(?=[ \t]*([#,\n]|$))")
FIRST_DIGITS = re.compile(r"[1-9][0-9]{0,2}")
MORE_DIGITS = re.compile(r"([0-9]{3})(?![0-9_.eE])([ \t]*[^\W\d]\w*(/s)?|%)?")
OPENERS, CLOSERS = ("LSQB", "LPAR"), ("RSQB", "RPAR")
Faults: TypeAlias = "list[Diagnostic]"


def replace_foreign(source: Source, tokens: Iterable[Token], end: int, faults: Faults) -> Iterable[Token]:
    """The tokens of a part that ends at `end`, with foreign forms reported and replaced."""
    tokens = list(tokens)
    text, start = source.text, tokens[0].start_pos if tokens else end
    if IMPORT.search(text, start, end):
        tokens = _quote_imports(source, tokens, faults)
    if text.find("'", start, end) >= 0 or COMMENT.search(text, start, end):
        tokens = _replace_quotes_and_comments(source, tokens, end, faults)
    return _join_digits(source, tokens, faults) if GROUPED.search(text, start, end) else tokens


def _quote_imports(source: Source, tokens: Iterable[Token], faults: Faults) -> Iterator[Token]:
    """Put the path of `import h100` in quotes."""
    before, end = "", 0
    for token in tokens:
        start = token.start_pos or 0
        if start < end:
            continue
        path = UNQUOTED.match(source.text, start) if before == "IMPORT" and token.type == "NAME" else None
        if path:
            span, text, end = Span(source, start, path.end()), f'"{path[0]}"', path.end()
            fix = Fix("add quotes", ((span, text),))
            faults.append(error("P002", "the path of an import is in quotes", Label(span, text), fix=fix))
            yield Token("STRING", text, start, end)
        else:
            yield token
        before = token.type


def _replace_quotes_and_comments(
    source: Source, tokens: Iterable[Token], end: int, faults: Faults
) -> Iterator[Token]:
    skipped = 0  # offset up to which tokens are part of a form that was replaced
    before = ""  # the kind of the last token
    for token in tokens:
        start, stop = token.start_pos or 0, token.end_pos or 0
        if stop <= skipped or (token.type == before == "_NL"):  # a comment alone leaves two ends of lines
            continue
        if start < skipped:  # such as `';`: a sign that another one follows
            token, start = Token(token.type, token[skipped - start :], skipped, stop), skipped
        if token.type == "DIVIDE" and COMMENT.match(source.text, start):
            skipped = _report_comment(source, start, end, faults)
        elif token.type == "JUNK" and (quoted := QUOTED.match(source.text, start, end)):
            text = '"' + quoted[1].replace('"', '\\"') + '"'
            span, skipped = Span(source, start, quoted.end()), quoted.end()
            fix = Fix("write double quotes", ((span, text),))
            faults.append(error("P002", "texts are in double quotes", Label(span, f"`{text}`"), fix=fix))
            yield Token("STRING", text, start, skipped)
        else:
            yield token
            before = "_NL" if token.type == "_COMMA" else token.type


def _report_comment(source: Source, start: int, end: int, faults: Faults) -> int:
    """Report a comment of C; where it ends."""
    line = source.text.find("\n", start, end)
    stop = line if line >= 0 else end
    edits: tuple[tuple[Span, str], ...] = ((Span(source, start, start + 2), "#"),)
    if source.text.startswith("/*", start):
        close = source.text.find("*/", start + 2, end)
        if close < 0:
            edits = ()
        else:
            rest = source.text[close + 2 : end].partition("\n")[0].strip()
            stop = close + 2
            edits = () if rest else tuple(_list_comment_edits(source, start, close))
    fix = Fix("write `#`", edits) if edits else None
    label = Label(Span(source, start, start + 2), "`#` instead")
    faults.append(error("P002", "comments begin with `#`, on each of their lines", label, fix=fix))
    return stop


def _list_comment_edits(source: Source, start: int, close: int) -> Iterator[tuple[Span, str]]:
    """The edits that begin each line of `/* .. */` with `#`."""
    yield Span(source, start, start + 2), "#"
    at = source.text.find("\n", start, close)
    while at >= 0:
        text = source.text[at + 1 : close].partition("\n")[0]
        begin = at + 1 + len(text) - len(text.lstrip(" \t"))
        star = source.text[begin] == "*" and begin < close
        if text.strip() or begin == close:
            yield Span(source, begin, begin + star), "#" if star or begin == close else "# "
        at = source.text.find("\n", begin, close)
    yield Span(source, close, close + 2), ""


def _join_digits(source: Source, tokens: Iterable[Token], faults: Faults) -> Iterator[Token]:
    """Join `1,000`, which is `1_000`; in a list, where it may be two values, only if the second is `0..`."""
    held: list[Token] = []  # a number, and a comma that follows it immediately
    depth = 0
    for token in tokens:
        depth += (token.type in OPENERS) - (token.type in CLOSERS)
        if len(held) == 2 and _continues(held, token, depth):
            first = held[0]
            held = [Token("QUANTITY", f"{first}_{token}", first.start_pos, token.end_pos)]
            continue
        if held and len(held) == 1 and token.type == "_COMMA" and token == "," and _touch(held[0], token):
            held.append(token)
            continue
        yield from _release(source, held, faults)
        held = []
        if token.type == "QUANTITY" and FIRST_DIGITS.fullmatch(token):
            held = [token]
        else:
            yield token
    yield from _release(source, held, faults)


def _continues(held: list[Token], token: Token, depth: int) -> bool:
    """Whether a token is the next three digits of the number that is held."""
    if token.type != "QUANTITY" or not _touch(held[1], token) or not MORE_DIGITS.fullmatch(token):
        return False
    return depth <= 0 or token[0] == "0" or "_" in held[0]


def _release(source: Source, held: list[Token], faults: Faults) -> Iterator[Token]:
    if held and "_" in held[0]:
        span = Span(source, held[0].start_pos or 0, held[0].end_pos or 0)
        text = str(held[0])
        fix = Fix(f"write `{text}`", ((span, text),))
        message = "a comma separates statements and values; digits are grouped by `_`"
        faults.append(error("P002", message, Label(span, f"`{text}`"), fix=fix))
    yield from held


def _touch(one: Token, other: Token) -> bool:
    return one.end_pos == other.start_pos
