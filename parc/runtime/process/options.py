"""Values of the command line; what is not one is an error of use."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def positive_int(text: str) -> int:
    """A number of steps, say: 1 or more."""
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def positive_float(text: str) -> float:
    """A rate or a time: a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a finite number above 0")
    return value


def folder(text: str) -> Path:
    """A folder that is there."""
    if not Path(text).is_dir():
        raise ArgumentTypeError(f"there is no folder {text!r}")
    return Path(text)


@contextmanager
def report_faults() -> Iterator[None]:
    """Ends the program with one line where files that it needs are missing or wrong."""
    try:
        yield
    except (OSError, ValueError) as fault:
        raise SystemExit(f"error: {fault}") from None
