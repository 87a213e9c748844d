"""Values as Python text."""

from __future__ import annotations

import json
from collections.abc import Mapping


def quoted(value: object) -> str:
    """A value as Python with double quotes."""
    if isinstance(value, str):
        return json.dumps(value) if value.isascii() and value.isprintable() else repr(value)
    if isinstance(value, tuple):
        inside = ", ".join(quoted(item) for item in value)
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    if isinstance(value, list):
        return f"[{', '.join(quoted(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{quoted(k)}: {quoted(v)}' for k, v in value.items())}}}"
    return repr(value)
