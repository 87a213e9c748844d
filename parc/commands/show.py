"""Diagnostics for people: on a terminal in colour and as wide as it is, elsewhere as plain text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TextIO

from parc.diagnostic import Diagnostic
from parc.render import text


def show(diagnostics: Sequence[Diagnostic], stream: TextIO, closing: str | None = None) -> None:
    """In full, and closed by their number, or by what else there is to say of all of them."""
    if diagnostics:
        print(text.render(diagnostics, colored(stream), _width(stream)), file=stream)
        print(closing or text.summary(diagnostics), file=stream)


def colored(stream: TextIO) -> bool:
    """Whether colour is wanted there; see https://no-color.org."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _width(stream: TextIO) -> int | None:
    """Columns of the terminal; None where there is none."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except OSError:  # a terminal that does not say
        return None
