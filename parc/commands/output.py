"""Prints diagnostics: coloured and folded on a terminal, as plain text elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from parc.diagnostic import Diagnostic
from parc.render.style import wants_color
from parc.render.text import render, summarize


def print_diagnostics(diagnostics: Sequence[Diagnostic], stream: TextIO, summary: str | None = None) -> None:
    """Print every diagnostic in full, followed by `summary` or their numbers."""
    if diagnostics:
        print(render(diagnostics, wants_color(stream), _measure_width(stream)), file=stream)
        print(summary or summarize(diagnostics), file=stream)


def _measure_width(stream: TextIO) -> int | None:
    """The columns of the terminal; None if `stream` is not a terminal or has no known width."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except OSError:
        return None
