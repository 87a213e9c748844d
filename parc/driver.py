"""The compiler from end to end: read, check, capture and rewrite, emit; then perhaps run."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from parc.capture.capture import Captured, capture
from parc.capture.user_model import Faulty, source_text
from parc.check.load import Loaded, choose, load
from parc.check.unsupported import find_unsupported
from parc.diagnostic import Diagnostic, Label, error, has_errors
from parc.emit.modules import taken
from parc.emit.program import Files, files
from parc.emit.write import is_ours, write
from parc.ir.program import Program
from parc.lower.program import rewrite
from parc.plan.blocks import Plan
from parc.plan.imports import HARDWARE_PREFIX
from parc.render.text import render, summarize


@dataclass(frozen=True)
class Compiled:
    """A plan, its model as it was captured, and its program, in memory and as files."""

    plan: Plan
    captured: Captured
    program: Program
    files: Files
    warnings: tuple[Diagnostic, ...]


def compiled(loaded: Loaded, name: str | None) -> Compiled | tuple[Diagnostic, ...]:
    """The program of a plan; or why there is none."""
    if not loaded.ok:  # an error that a comment allows cannot be built either
        return loaded.diagnostics + loaded.allowed
    plan = choose(loaded, name)
    if isinstance(plan, Diagnostic):
        return (plan,)
    limits = find_unsupported(plan, loaded.launches)
    if has_errors(limits):
        return limits
    try:
        with _uncollected():
            captured = capture(plan)
            program = rewrite(plan, captured)
    except Faulty as faulty:
        return faulty.diagnostics
    if axes := taken(program):
        return tuple(_taken(plan, axis) for axis in sorted(axes))
    base = Path(loaded.sources[0].path).parent
    sources = {_shown(source.path, base): source.text.encode() for source in loaded.sources}
    sources |= source_text(plan.train.model)
    return Compiled(plan, captured, program, files(plan, program, sources), loaded.diagnostics + limits)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the garbage collector: a model has many thousands of modules, and none of them is garbage."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _shown(path: str, base: Path) -> str:
    """What a file is called beside the plan; known hardware has its name everywhere."""
    return path if path.startswith(HARDWARE_PREFIX) else os.path.relpath(path, base)


def _taken(plan: Plan, axis: str) -> Diagnostic:
    """An axis becomes an attribute of the modules that communicate over it."""
    message = f"the axis `{axis}` has the name of a part of the model, or one that Python or torch keeps"
    return error("P511", message, Label(plan.at(f"mesh.{axis}"), "choose another name"))


def build(
    file: Path, plan: str | None, out: Path, overrides: Sequence[str] = (), outside: bool = False
) -> tuple[Diagnostic, ...]:
    """Compile a plan into `out`, replacing a folder of parc's; everything that there is to say about it."""
    if os.path.lexists(out) and not is_ours(out):
        return (error("P510", f"`{out}` exists and was not written by parc", help="choose another folder"),)
    made = compiled(load(file, overrides, outside), plan)
    return _written(made, out) or made.warnings if isinstance(made, Compiled) else made


def _written(made: Compiled, out: Path) -> tuple[Diagnostic, ...]:
    """Put the files in their folder; what stands in the way."""
    try:
        write(made.files, out)
    except OSError as fault:
        return (error("P510", f"`{out}` cannot be written: {fault.strerror}"),)
    return ()


def run(
    file: Path,
    plan: str | None,
    device: str | None,
    arguments: Sequence[str] = (),
    overrides: Sequence[str] = (),
    compare: int = 0,
    outside: bool = False,
) -> int:
    """Compile a plan and train here; the program's exit status, or 1 where there is none.

    The first `compare` losses are then held against those of the model on one device.
    """
    from parc.verify.execution.subprocess import run_program  # noqa: PLC0415 - start-up time: imports more of torch
    from parc.verify.run_summary import summarize_run  # noqa: PLC0415 - start-up time

    made = compiled(load(file, overrides, outside), plan)
    if not isinstance(made, Compiled):
        print(render(made, sys.stdout.isatty()), summarize(made), sep="\n")
        return 1
    base = file.parent.absolute()
    with tempfile.TemporaryDirectory(prefix="parc-") as folder:
        write(made.files, Path(folder) / "program")
        program = [sys.executable, str(Path(folder) / "program" / "train.py"), "--base", str(base)]
        chosen = ["--device", device] if device else []
        status = run_program([*program, *chosen, *arguments])
    if status == 0 and compare:
        print(summarize_run(made.plan, made.captured, base, arguments, compare))
    return status
