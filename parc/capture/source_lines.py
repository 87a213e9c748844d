"""Labels on lines of the user's source: of an operation, or of what raised an exception."""

from __future__ import annotations

import importlib
import traceback
from pathlib import Path

import torch
from torch import fx

from parc.capture.graph import lines_of
from parc.diagnostic import Label
from parc.source import Source

_NOT_THE_USERS = (
    *(str(Path(__file__).parents[1]), str(Path(torch.__file__).parent)),
    *("<frozen", str(Path(importlib.__file__).parent)),
)


def label_operation(node: fx.Node | None) -> tuple[Label, ...]:
    """The user's line that an operation stands in; none where it is not known."""
    lines = lines_of(node) if node is not None else []
    return _label_line(lines[-1].file, lines[-1].number, "this operation") if lines else ()


def label_fault(fault: BaseException) -> tuple[Label, ...]:
    """The innermost line of the user's in a traceback, or the line that Python cannot read."""
    if isinstance(fault, SyntaxError) and fault.filename and fault.lineno:
        return _label_line(Path(fault.filename), fault.lineno, "here")
    frames = traceback.extract_tb(fault.__traceback__)
    users = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    return _label_line(Path(users[-1].filename), users[-1].lineno or 1, "raised here") if users else ()


def describe_fault(fault: BaseException) -> str:
    """The first line of an exception's message, or its type where it has none."""
    return str(fault).strip().split("\n")[0] or type(fault).__name__


def _label_line(file: Path, number: int, text: str) -> tuple[Label, ...]:
    """A label on a whole line of a source file; none where it cannot be read."""
    try:
        source = Source(str(file), file.read_text())
        return (Label(source.make_line_span(number), text),)
    except (OSError, UnicodeDecodeError, IndexError):
        return ()
