"""Prints diagnostics: coloured and folded on a terminal, as plain text elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TextIO

from parc.diagnostic import Diagnostic, error
from parc.render.style import wants_color
from parc.render.text import render, render_concise, summarize


def print_diagnostics(diagnostics: Sequence[Diagnostic], stream: TextIO, summary: str | None = None) -> None:
    """Print every diagnostic in full, followed by `summary` or their numbers."""
    if diagnostics:
        print(render(diagnostics, wants_color(stream), _measure_width(stream)), file=stream)
        print(summary or summarize(diagnostics), file=stream)


def print_found(diagnostics: Sequence[Diagnostic], form: str) -> None:
    """Print diagnostics on standard output in the format that is asked for."""
    if form == "text":
        print_diagnostics(diagnostics, sys.stdout)
    elif form == "concise":
        print(render_concise(diagnostics), end="")
    else:
        print(import_module(f"parc.render.{form}").render(diagnostics), end="")


def print_misuse(message: str, form: str) -> None:
    """Report wrong arguments: on standard error, and in a format that a program reads also on its input."""
    print(message, file=sys.stderr)
    if form not in ("text", "concise"):
        print_found([error("P602", message)], form)


def print_exactly(text: str) -> None:
    """Print a text that other programs read as a file: as UTF-8, whatever the encoding of standard output."""
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()


def _measure_width(stream: TextIO) -> int | None:
    """The columns of the terminal; None if `stream` is not a terminal or has no known width."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or None if stream.isatty() else None
    except OSError:
        return None
