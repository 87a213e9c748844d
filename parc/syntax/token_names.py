"""Names of tokens in messages."""

from __future__ import annotations

from collections.abc import Collection

from parc.syntax.token import Token

VALUE = {"QUANTITY", "STRING", "LSQB", "LPAR"}  # all of these are only expected where a value is
SYMBOLS = {
    "EQUAL": "`=`",
    "COLON": "`:`",
    "DOT": "`.`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "PLUS": "`+`",
    "MINUS": "`-`",
    "TIMES": "`*`",
    "DIVIDE": "`/`",
    "RELATION": "a comparison",
    "NAME": "a name",
    "QUANTITY": "a value",
    "STRING": "a text in quotes",
    "IMPORT": "`import`",
    "LET": "`let`",
    "FOR": "`for`",
    "ON": "`on`",
    "OVER": "`over`",
    "_COMMA": "a comma",
    "_NL": "the end of the line",
    "$END": "the end of the file",
}


def describe_token(token: Token) -> str:
    if token.type in ("_NL", "$END", "_COMMA"):
        return SYMBOLS[token.type]
    text = str(token)
    return f"`{text if len(text) <= 40 else text[:37] + '..'}`"


def describe_expected(kinds: Collection[str]) -> str:
    """What may follow, the most likely first. Operators, which may follow any value, are left out."""
    expected = set(kinds) - {"PLUS", "MINUS", "TIMES", "DIVIDE", "DOT"}
    if expected >= VALUE:
        return "a value"
    if {"IMPORT", "LET", "NAME"} <= expected:
        return "a statement" + (" or `}`" if "RBRACE" in expected else "")
    names = [SYMBOLS[kind] for kind in SYMBOLS if kind in expected]
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " or " + names[-1]
