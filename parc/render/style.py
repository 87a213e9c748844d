"""Colours of a terminal, and the width of text on it."""

from __future__ import annotations

import os
from typing import TextIO

from parc.diagnostic import Severity

RESET = "\033[0m"
BOLD, DIM = "\033[1m", "\033[2m"
BLUE, GREEN, RED = "\033[1;34m", "\033[32m", "\033[31m"
CONTROLS = {"\t": "    ", "\n": "\\n"}
STYLES = {
    Severity.ERROR: "\033[1;31m",
    Severity.WARNING: "\033[1;33m",
    Severity.INFO: "\033[1;36m",
}


def wants_color(stream: TextIO) -> bool:
    """Whether to write colours to a stream: it is a terminal, and https://no-color.org is respected."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def escape_controls(text: str) -> str:
    """The text on one line, without characters that control a terminal. Tabs become four spaces.

    A line feed in a name or a string begins no line of the output: a log may take the line for a command.
    """
    if text.isprintable():
        return text
    return "".join(CONTROLS.get(each, each if each.isprintable() else "�") for each in text)


def format_path(path: object) -> str:
    """A path at the beginning of a line. GitHub takes a line that begins with `::` for a command."""
    shown = escape_controls(str(path))
    return f"./{shown}" if shown.lstrip().startswith("::") else shown


def count_columns(text: str) -> int:
    """The number of columns of a terminal that the text takes."""
    text = escape_controls(text)
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width  # noqa: PLC0415 - start-up time

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)
