"""Lines of the user's source: of an operation, of what raised an exception, of what is running."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import NamedTuple, TypeAlias

import torch
from torch import fx

from parc.diagnostic import Label
from parc.source import Source

_PARC = str(Path(__file__).parents[1])
_MODES = str(Path(__file__).parent / "inline")  # what stands between an operation and the user's call of it
_OTHERS = (_PARC, str(Path(torch.__file__).parent), "<frozen")
_PYTHON = sysconfig.get_paths()["stdlib"]
_FRAME = re.compile(r'\s*File "(.*)", line (\d+)')


Frames: TypeAlias = Sequence[tuple[str, int]]  # of a stack, innermost first: file and line


class Line(NamedTuple):
    """A line of the user's source."""

    file: Path
    number: int


def find_lines(node: fx.Node) -> list[Line]:
    """The user's lines in which an operation stands, callers first."""
    frames = map(_FRAME.match, (node.meta.get("stack_trace") or "").splitlines())
    lines = (frame.groups() for frame in frames if frame)
    return [Line(Path(file), int(number)) for file, number in lines if is_users_file(file)]


def list_frames() -> Frames:
    """The lines that have called the module which asks, up to the next of ours but for those of modes."""
    asking = sys._getframe(1)
    frame: FrameType | None = asking
    found = []
    while frame is not None and frame.f_code.co_filename == asking.f_code.co_filename:
        frame = frame.f_back
    while frame is not None and not _is_ours(frame):
        found.append((frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return found


def list_users_lines(frames: Frames) -> Iterator[Line]:
    """The user's lines among frames, innermost first."""
    return (Line(Path(file), number) for file, number in frames if is_users_file(file))


def format_frames(frames: Frames) -> str:
    """The user's lines among frames, as `find_lines` reads them in `meta["stack_trace"]`."""
    lines = (f'File "{file}", line {number}' for file, number in reversed(frames) if is_users_file(file))
    return "\n".join(lines)


def _is_ours(frame: FrameType) -> bool:
    """Whether a frame is parc's own; one of a mode stands between an operation and the user's call of it."""
    file = frame.f_code.co_filename
    mode = frame.f_code.co_name == "__torch_function__" or file.startswith(_MODES)
    return file.startswith(_PARC) and not mode


def label_operation(node: fx.Node | None) -> tuple[Label, ...]:
    """The user's line in which an operation stands; none where it is not known."""
    lines = find_lines(node) if node is not None else []
    return label_line(lines[-1].file, lines[-1].number, "this operation") if lines else ()


def label_frames(frames: Frames) -> tuple[Label, ...]:
    """The innermost line of the user's among frames; none where there is none."""
    users = [(file, number) for file, number in frames if is_users_file(file)]
    return label_line(Path(users[0][0]), users[0][1], "here") if users else ()


def label_fault(fault: BaseException) -> tuple[Label, ...]:
    """The innermost line of the user's in a traceback, or the line that Python cannot read."""
    if isinstance(fault, SyntaxError) and fault.filename and fault.lineno:
        return label_line(Path(fault.filename), fault.lineno, "here")
    frames = [each for each in traceback.extract_tb(fault.__traceback__) if is_users_file(each.filename)]
    return label_line(Path(frames[-1].filename), frames[-1].lineno or 1, "raised here") if frames else ()


def label_class(of: type, text: str) -> tuple[Label, ...]:
    """The line that a class of the user's begins at; none where it is torch's, or not known."""
    try:
        file, (_, number) = inspect.getsourcefile(of), inspect.getsourcelines(of)
    except (OSError, TypeError):
        return ()
    return label_line(Path(file), number, text) if file and is_users_file(file) else ()


def describe_fault(fault: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    return read_message(fault).strip().split("\n")[0] or type(fault).__name__


def read_message(fault: BaseException) -> str:
    """The message of an exception; empty if that raises another one, as an exception of the user's may."""
    try:
        return str(fault)
    except Exception:  # noqa: BLE001 - whatever the user's `__str__` raises
        return ""


def is_users_file(file: str) -> bool:
    """Whether a source file is neither Python's, nor torch's, nor ours."""
    return not (file.startswith(_OTHERS) or (file.startswith(_PYTHON) and "site-packages" not in file))


def label_line(file: Path, number: int, text: str) -> tuple[Label, ...]:
    """A label on a whole line of a source file; none where it cannot be read."""
    try:
        source = Source(str(file), file.read_text())
        return (Label(source.make_line_span(number), text),)
    except (OSError, UnicodeDecodeError, IndexError):
        return ()
