"""Source lines of a program that was running, innermost first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class ProgramFrame(NamedTuple):
    """A line of a file. The file is relative to the program's folder where it lies there."""

    file: str
    line: int


def select_frames(frames: Iterable[ProgramFrame]) -> list[ProgramFrame]:
    """The innermost frame outside the program's runtime, if there is one, and the innermost of all."""
    own = list(frames)
    outside = [frame for frame in own if not frame.file.startswith("runtime/")]
    return list(dict.fromkeys([*outside[:1], *own[:1]]))
