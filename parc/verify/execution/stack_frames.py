"""Lines of a program that was running, innermost first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Frame(NamedTuple):
    """A line of a file; relative to the program's folder where it lies there."""

    file: str
    line: int


def telling(own: Iterable[Frame]) -> list[Frame]:
    """Of a program's frames: the innermost outside its runtime, if there is one, and that of all."""
    frames = list(own)
    outside = [frame for frame in frames if not frame.file.startswith("runtime/")]
    return list(dict.fromkeys([*outside[:1], *frames[:1]]))
