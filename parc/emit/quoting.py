"""Values as Python text."""

from __future__ import annotations

from collections.abc import Mapping


def quoted(value: object) -> str:
    """A value as Python with double quotes."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        inside = ", ".join(quoted(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(quoted(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{quoted(k)}: {quoted(v)}' for k, v in value.items())}}}"
    return "..." if value is ... else repr(value)


def _text(value: str) -> str:
    """In the quotes that need fewer escapes, the double ones where that is the same."""
    text = repr(value)
    if text[0] == '"' or value.count('"') > value.count("'"):
        return text
    return '"' + text[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
