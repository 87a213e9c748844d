"""Fixes of syntax faults: the edits that make a text what recovery assumed it to be."""

from __future__ import annotations

import re
from collections.abc import Sequence

from parc.diagnostic import Fix
from parc.source import Source, Span
from parc.syntax.scan import OPENERS, get_span
from parc.syntax.token import Token

SIGNS = {"EQUAL": "=", "COLON": ":", "_COMMA": ",", "LBRACE": "{", "RBRACE": "}", "RSQB": "]", "RPAR": ")"}
WORDS = {"FOR": "for", "ON": "on", "OVER": "over"}
PADDED = {"EQUAL", "LBRACE", *WORDS}  # with spaces before and after


def build_repair_fix(
    source: Source, tokens: Sequence[Token], index: int, instead: list[Token], count: int
) -> Fix | None:
    """The fix that replaces `count` tokens from `index` on by `instead`; None if no edit does the same."""
    token = tokens[index]
    span = get_span(source, token)
    if count and token.type in ("_NL", "_COMMA"):  # such a token contains more than a sign
        return None
    if len(instead) > 1:
        return Fix("put the axis in brackets", ((span, f"[{token}]"),))
    if not instead:
        return Fix("remove it", ((span, ""),), safe=False)
    kind = instead[0].type
    sign = (SIGNS | WORDS).get(kind)
    if sign is None:
        return None
    if count:
        return Fix(
            f"write `{sign}`", ((span, _pad_sign(source, span, kind, sign)),), safe=token.type in SIGNS
        )
    end = tokens[index - 1].end_pos or 0 if index else span.start
    place = Span(source, end, end)
    return Fix(f"insert `{sign}`", ((place, _pad_sign(source, place, kind, sign)),))


def _pad_sign(source: Source, span: Span, kind: str, sign: str) -> str:
    """The sign, with the spaces that it needs and that the text does not have."""
    if kind not in PADDED:
        return sign
    before, after = source.text[: span.start][-1:], source.text[span.end : span.end + 1]
    return ("" if not before or before.isspace() else " ") + sign + ("" if after.isspace() else " ")


def build_closing_fix(source: Source, tokens: Sequence[Token], index: int, openers: Sequence[Token]) -> Fix:
    """The fix that closes `openers` before the token `index`. It is not safe, since the place is a guess."""
    last = index - 1
    while last > 0 and tokens[last].type in ("_NL", "_COMMA"):
        last -= 1
    end = tokens[last].end_pos or 0
    start = get_span(source, tokens[index]).start
    inner = "".join(SIGNS[OPENERS[each.type]] for each in reversed(openers) if each.type != "LBRACE")
    outer = sum(each.type == "LBRACE" for each in openers)
    edits = [(Span(source, end, end), inner)] if inner else []
    if outer and ("\n" in source.text[end:start] or start == len(source.text)):
        line = source.text.rfind("\n", 0, start) + 1
        at = start if source.text[line:start].strip() else line
        edits.append((Span(source, at, at), ("\n" if at > line else "") + "}\n" * outer))
    elif outer:
        edits.append((Span(source, end, end), " }" * outer))
    return Fix("close it", tuple(edits), safe=False)


def build_arguments_fix(source: Source, tokens: Sequence[Token], opener: int, closer: int) -> Fix | None:
    """The fix that moves what is in the braces after a call into its parentheses, which end before them."""
    inside = tokens[opener + 1 : closer]
    while inside and inside[-1].type in ("_NL", "_COMMA"):
        inside = inside[:-1]
    if not inside or any(each.type in ("_NL", "LBRACE", "RELATION") for each in inside):
        return None
    start, end = tokens[opener - 1].start_pos, tokens[closer].end_pos
    text = source.text[inside[0].start_pos : inside[-1].end_pos]
    comma = "" if tokens[opener - 2].type in ("LPAR", "_COMMA") else ", "
    return Fix("make it arguments", ((Span(source, start, end), f"{comma}{text})"),))


def remove_entry(span: Span) -> tuple[Span, str]:
    """Remove an entry of a list or a statement, with the comma or the line that it would leave behind."""
    text, start, end = span.source.text, span.start, span.end
    line = text.rfind("\n", 0, start) + 1
    if comma := re.compile(r"[ \t]*,[ \t]*").match(text, end):
        end = comma.end()
    elif comma := re.search(r"\s*,\s*$", text[:start]):
        start = comma.start()
    elif not text[line:start].strip() and (rest := re.compile(r"[ \t]*\n").match(text, end)):
        start, end = line, rest.end()
    return Span(span.source, start, end), ""
