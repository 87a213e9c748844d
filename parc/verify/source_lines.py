"""Source lines of a program that a finding is about: frames of stacks, edits, and calls of collectives."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple, TypeAlias

from parc.emit.program import Files
from parc.ir.program import Collective
from parc.plan.mesh import identify_group

Location: TypeAlias = tuple[str | None, int | None]  # file and line, or neither


class ProgramFrame(NamedTuple):
    """A line of a file. The file is relative to the program's folder where it lies there."""

    file: str
    line: int


def select_frames(frames: Iterable[ProgramFrame]) -> list[ProgramFrame]:
    """The innermost frame in the model, if there is one, and the innermost of all."""
    own = list(frames)
    outside = [each for each in own if not each.file.startswith("runtime/") and each.file != "train.py"]
    return list(dict.fromkeys([*outside[:1], *own[:1]]))


def find_edit(files: Files, folder: Path, module: str = "", unit: str = "") -> Location:
    """The first line of `folder` that differs from the emitted `files`.

    A line of class `unit` in `module` comes first, then one of `module`, then one of any file.
    """
    for name in sorted(files, key=lambda name: (name != module, name)):
        if name.endswith(".py") and (lines := _find_changes(files[name].decode(), folder / name)):
            within = _find_class(folder / name, unit) if name == module else None
            span = range(within.lineno, (within.end_lineno or 0) + 1) if within else ()
            return name, next((line for line in lines if line in span), lines[0])
    return None, None


def find_call(file: Path, unit: str, move: Collective) -> int | None:
    """The line of class `unit` that makes a move, itself or by a function that is given its group."""
    found = _find_class(file, unit)
    calls = [node for node in ast.walk(found) if isinstance(node, ast.Call)] if found else []
    makers = [call for call in calls if _makes(call, move)]
    # a function of the runtime that is given the group may make the move
    group = f"self.{identify_group(move.axis)}"
    makers += [call for call in calls if isinstance(call.func, ast.Name) and group in ast.unparse(call)]
    return makers[0].lineno if makers else None


def _makes(call: ast.Call, move: Collective) -> bool:
    layer = move.operand.expression.tree  # where a layer makes the move of what it computes
    if isinstance(layer, ast.Call) and ast.unparse(layer.func) == ast.unparse(call.func):
        return True
    if ast.unparse(call.func) != move.verb:
        return False
    dst = next((ast.unparse(each.value) for each in call.keywords if each.arg == "dst"), str(move.dst))
    operand = ast.unparse(call.args[0]) if call.args else str(move.operand.expression)
    return operand == str(move.operand.expression) and dst == str(move.dst)


def _find_changes(emitted: str, file: Path) -> list[int]:
    """The lines of a file that were not emitted so; where lines are missing, the line that follows."""
    now = file.read_text(errors="replace").splitlines() if file.exists() else []
    blocks = SequenceMatcher(None, emitted.splitlines(), now, autojunk=False).get_opcodes()
    changed = [(low, high) for kind, _, _, low, high in blocks if kind != "equal"]
    return [line + 1 for low, high in changed for line in range(low, max(high, low + 1))]


def _find_class(file: Path, name: str) -> ast.ClassDef | None:
    try:
        tree = ast.parse(file.read_text(errors="replace"))
    except (OSError, SyntaxError):
        return None
    return next((each for each in tree.body if isinstance(each, ast.ClassDef) and each.name == name), None)
