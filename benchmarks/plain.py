"""Diagnostics of two readings of one text, to be compared."""

from __future__ import annotations

from typing import Any

from parc.check.load import Loaded
from parc.source import Source


def plain(loaded: Loaded) -> list[Any]:
    """All that the diagnostics say, without the identity of their sources."""

    def told(value: Any) -> Any:
        if isinstance(value, Source):
            return value.path
        return tuple(told(each) for each in value) if isinstance(value, tuple) else value

    return [
        (each.code, each.severity, each.message, told(each.labels), each.notes, each.help, told(each.fix))
        for each in loaded.diagnostics
    ]
