"""Constants as Python text."""

from __future__ import annotations


def quote(value: object) -> str:
    """A constant as a person writes it: double quotes, no empty digits in exponents."""
    if isinstance(value, str):
        return _quote_text(value)
    if isinstance(value, float):
        return repr(value).replace("e-0", "e-").replace("e+", "e")
    return "..." if value is ... else repr(value)


def _quote_text(value: str) -> str:
    """In the quotes that need fewer escapes, the double ones where that is the same."""
    text = repr(value)
    if text[0] == '"' or value.count('"') > value.count("'"):
        return text
    return '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
