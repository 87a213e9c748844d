"""The compiler from end to end: load, capture, propagate, lower, emit; then perhaps run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal, TypeAlias

from parc.capture.capture import Captured, capture
from parc.capture.dump import dump_captured
from parc.capture.kept_faults import check_selection
from parc.capture.model.origin import check_origin
from parc.capture.model.user_model import read_sources
from parc.check.load import Loaded, choose, load
from parc.check.model_size import compare_parameters
from parc.check.unsupported import find_unsupported
from parc.collector import pause_collector
from parc.diagnostic import CompileError, Diagnostic, error, has_errors
from parc.emit.program import Files, dump_files, emit
from parc.emit.record import MARK, find_edits, is_ours
from parc.emit.scratch import make_temporary
from parc.emit.tables import add_validation
from parc.emit.write import find_foreign, write
from parc.ir.dump import dump_program
from parc.ir.program import Program
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.plan.dump import dump_plan
from parc.plan.imports import HARDWARE_PREFIX
from parc.render.text import render, summarize
from parc.shard.dump import dump_placed
from parc.shard.propagate import propagate

SHOWN = 4  # edited files that a message lists


@dataclass(frozen=True)
class Compiled:
    """A plan, its model as it was captured, and its program, in memory and as files."""

    plan: Plan
    captured: Captured
    program: Program
    files: Files
    warnings: tuple[Diagnostic, ...]
    validation: str | None = None  # a line on what was compared with the model


@dataclass(frozen=True)
class Built:
    """Everything that there is to say about a build, and a line on what was compared with the model."""

    diagnostics: tuple[Diagnostic, ...]
    validation: str | None = None


CompilerPass: TypeAlias = Literal["load", "capture", "propagate", "lower", "emit"]
Watch: TypeAlias = Callable[[CompilerPass, Callable[[], str]], None]
"""Is called after each pass, with a function that prints what the pass has made."""


def _ignore(_pass: CompilerPass, _dump: Callable[[], str]) -> None:
    pass


def compile_plan(
    loaded: Loaded, name: str | None, watch: Watch = _ignore
) -> Compiled | tuple[Diagnostic, ...]:
    """The program of a plan, or why there is none."""
    if not loaded.ok:  # an error that a comment allows cannot be built either
        return loaded.diagnostics + loaded.allowed
    plan = choose(loaded, name)
    if isinstance(plan, Diagnostic):
        return (plan,)
    limits = find_unsupported(plan, loaded.launches)
    if has_errors(limits):
        return limits
    watch("load", lambda: dump_plan(plan))
    try:
        if not loaded.outside:
            check_origin(plan.train.model)
        captured = capture(plan)
        size = compare_parameters(plan, sum(map(prod, captured.shapes.values())))
        check_selection(plan, captured.selects_nothing, captured.shapes)
        watch("capture", lambda: dump_captured(captured))
        placed = propagate(plan, captured)
        watch("propagate", lambda: dump_placed(placed))
        program = lower(plan, captured, placed)
        watch("lower", lambda: dump_program(program))
        files = emit(plan, program, _read_sources(loaded, plan))
        watch("emit", lambda: dump_files(files))
    except CompileError as refused:
        return refused.diagnostics
    found = loaded.diagnostics + limits + ((size,) if size else ())
    return Compiled(plan, captured, program, files, found)


def _read_sources(loaded: Loaded, plan: Plan) -> dict[str, bytes]:
    """The texts that a program is made from, by their paths beside the plan; known hardware has its name."""
    base = Path(loaded.sources[0].path).parent
    paths = {source.path: source.text.encode() for source in loaded.sources}
    shown = {p if p.startswith(HARDWARE_PREFIX) else os.path.relpath(p, base): t for p, t in paths.items()}
    return shown | read_sources(plan.train.model)


@pause_collector()
def build(
    file: Path,
    plan: str | None,
    out: Path,
    overrides: Sequence[str] = (),
    outside: bool = False,
    check: bool = True,
    force: bool = False,
) -> Built:
    """Compiles a plan into `out`, replacing a folder of parc's; one that was edited only with `force`.

    Nothing is written where there are errors. With `check` the program is compared with the model before.
    """
    if os.path.lexists(out) and (fault := _refuse_to_replace(out, force)):
        return Built((fault,))
    made = _compile_and_check(load(file, overrides, outside), plan, check)
    if not isinstance(made, Compiled):
        return Built(made)
    if fault := _refuse_to_mix(made, out):
        return Built((fault,))
    return Built(_write_files(made, out) or made.warnings, made.validation)


def _refuse_to_replace(out: Path, force: bool) -> Diagnostic | None:
    if not is_ours(out):
        return error("P510", f"`{out}` exists and was not written by parc", help="choose another folder")
    if force or not (edits := find_edits(out)):
        return None
    listed = ", ".join(f"`{name}`" for name in edits[:SHOWN]) + ", .." * (len(edits) > SHOWN)
    message = f"`{out}` was edited since it was written: {listed}"
    return error("P516", message, help="`--force` replaces it; `parc verify --folder` proves what is there")


def _refuse_to_mix(made: Compiled, out: Path) -> Diagnostic | None:
    """A file of the user's would take the place of one that is written."""
    names = {name.partition("/")[0] for name in made.files}
    mixed = [name for name in (find_foreign(out) if os.path.lexists(out) else ()) if name in names]
    if not mixed:
        return None
    message = f"`{out / mixed[0]}` is not parc's, and the program has a file of that name"
    return error("P516", message, help="move it away, or choose another folder")


def _compile_and_check(loaded: Loaded, name: str | None, check: bool) -> Compiled | tuple[Diagnostic, ...]:
    """The program of a plan, compared with the model if asked for; or why there is none."""
    made = compile_plan(loaded, name)
    if not isinstance(made, Compiled) or not check:
        return made
    from parc.verify.validation.validate import validate  # noqa: PLC0415 - start-up time: imports more of torch

    validation, found = validate(made.plan, made.files, made.captured.shapes)
    if has_errors(found):
        return made.warnings + found
    record = validation.as_record() if validation else None
    files = {**made.files, MARK: add_validation(made.files[MARK], record)}
    line = str(validation) if validation else None
    return replace(made, files=files, warnings=made.warnings + found, validation=line)


def dump_after(
    file: Path, plan: str | None, after: CompilerPass, overrides: Sequence[str] = (), outside: bool = False
) -> tuple[str | None, tuple[Diagnostic, ...]]:
    """The program after a pass, as text; None where it does not come so far. Writes nothing."""
    found: list[str] = []

    def watch(name: CompilerPass, dump: Callable[[], str]) -> None:
        if name == after:
            found.append(dump())

    made = compile_plan(load(file, overrides, outside), plan, watch)
    return next(iter(found), None), made.warnings if isinstance(made, Compiled) else made


def _write_files(made: Compiled, out: Path) -> tuple[Diagnostic, ...]:
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
    check: bool = True,
) -> int:
    """Compiles a plan and trains here; the program's exit status.

    Where there is no program it is 1, or 2 if the file cannot be read.

    With `check` the program is compared with the model before it starts. Its first `compare` losses are
    compared afterwards, with those of the model on one device.
    """
    from parc.verify.execution.subprocess import run_program  # noqa: PLC0415 - start-up time: imports more of torch
    from parc.verify.run_summary import summarize_run  # noqa: PLC0415 - start-up time

    with pause_collector():
        made = _compile_and_check(load(file, overrides, outside), plan, check)
    if not isinstance(made, Compiled):
        print(render(made, sys.stdout.isatty()), summarize(made), sep="\n")
        return 2 if any(each.code == "P009" for each in made) else 1  # as all commands: the file is not there
    if made.warnings:
        print(render(made.warnings, sys.stdout.isatty()))
    if made.validation:
        print(made.validation)
    base = file.parent.absolute()
    with make_temporary() as folder:
        write(made.files, folder / "program")
        program = [sys.executable, str(folder / "program" / "train.py"), "--base", str(base)]
        chosen = ["--device", device] if device else []
        status = run_program([*program, *chosen, *arguments])
    if status == 0 and compare:
        print(summarize_run(made.plan, made.captured, base, arguments, compare))
    return status
