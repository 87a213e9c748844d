"""Tokens in the words of a message."""

from __future__ import annotations

from collections.abc import Collection

from parc.syntax.token import Token

VALUE = {"QUANTITY", "STRING", "LSQB", "LPAR"}  # all of these are welcome only where a value is
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


def found(token: Token) -> str:
    if token.type in ("_NL", "$END", "_COMMA"):
        return SYMBOLS[token.type]
    text = str(token)
    return f"`{text if len(text) <= 40 else text[:37] + '..'}`"


def expected(kinds: Collection[str]) -> str:
    """What may stand here, most telling first; operators, which may follow any value, go unsaid."""
    wanted = set(kinds) - {"PLUS", "MINUS", "TIMES", "DIVIDE", "DOT"}
    if wanted >= VALUE:
        return "a value"
    if {"IMPORT", "LET", "NAME"} <= wanted:
        return "a statement" + (" or `}`" if "RBRACE" in wanted else "")
    words = [SYMBOLS[kind] for kind in SYMBOLS if kind in wanted]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1]
