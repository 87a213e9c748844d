"""`parc verify`: compiles a plan and climbs the ladder of its proof, with a report of each rung."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from json import loads
from pathlib import Path
from time import perf_counter

from parc.check.load import load
from parc.commands.output import print_found
from parc.diagnostic import Diagnostic, error
from parc.driver import Compiled, compile_plan
from parc.emit.record import MARK
from parc.emit.scratch import make_temporary
from parc.emit.write import write
from parc.render.style import BOLD, GREEN, RED, RESET, escape_controls, wants_color
from parc.verify.ladder import RUNGS, ProgramUnderTest, ProofOptions, RungName, choose_rungs, run_rungs
from parc.verify.report import RungVerdict, combine_verdicts, format_json, format_rung, format_summary

CODES: dict[RungVerdict, int] = {"proved": 0, "refuted": 1, "not provable": 2}
STYLES: dict[RungVerdict, str] = {"proved": GREEN, "refuted": RED, "not provable": BOLD}
MAX_TIMEOUT = 86_400.0  # seconds: a day
NAMES: dict[str, RungName] = {name: name for name in RUNGS}


def run(options: Namespace) -> int:
    """0: proved; 1: refuted; 2: not provable, which includes plans that are refused."""
    start = perf_counter()
    made = _compile(options)
    if not isinstance(made, Compiled):
        print_found(made, options.format)
        return CODES["not provable"]
    how = ProofOptions(
        _choose_rungs(made, options), options.seed, options.timeout, options.device, _print_progress
    )
    rungs = []
    with _provide_folder(made, options.folder) as folder:
        for rung in run_rungs(ProgramUnderTest(made.plan, made.program, made.files, folder), how):
            rungs.append(rung)
            if options.format == "text":
                print(_style_verdict(format_rung(rung), rung.verdict), flush=True)
    seconds = perf_counter() - start
    found = combine_verdicts(rungs)
    if options.format == "json":
        print(format_json(made.plan.name, rungs, seconds), end="")
    else:
        print(_style_verdict(format_summary(rungs, seconds), found))
    return CODES[found]


def _print_progress(line: str) -> None:
    print(escape_controls(line), file=sys.stderr, flush=True)


def _compile(options: Namespace) -> Compiled | tuple[Diagnostic, ...]:
    """The compiled plan, or why there is nothing to verify."""
    unknown = [name for name in _split_rungs(options) if name not in RUNGS]
    if unknown:
        names = ", ".join(f"`{name}`" for name in RUNGS)
        return (error("P620", f"there is no rung `{unknown[0]}`", help=f"the rungs are {names}"),)
    if not 0 < options.timeout <= MAX_TIMEOUT:
        message = f"{options.timeout:g} s is not a valid timeout of a step"
        help = f"--timeout is in seconds, above 0 and at most {MAX_TIMEOUT:,.0f}, a day"
        return (error("P621", message, help=help),)
    made = compile_plan(load(options.file, options.set, options.allow_outside_imports), options.plan)
    if isinstance(made, Compiled) and options.folder and (fault := _check_folder(made, options.folder)):
        return (fault,)
    return made


def _split_rungs(options: Namespace) -> list[str]:
    return [name.strip() for name in options.rungs.split(",")] if options.rungs else []


def _choose_rungs(made: Compiled, options: Namespace) -> tuple[RungName, ...]:
    chosen = tuple(NAMES[name] for name in _split_rungs(options)) or choose_rungs(made.plan, options.device)
    return (*chosen, "mutants") if options.mutants and "mutants" not in chosen else chosen


def _check_folder(made: Compiled, folder: Path) -> Diagnostic | None:
    """A fault if the folder was not emitted from this plan: every line of it would count as edited."""
    try:
        mark = (folder / MARK).read_bytes()
    except OSError:
        message = f"`{folder}` was not written by `parc build`"
        return error("P622", message, help=f"it has no {MARK}")
    if _parse_lock(mark) != _parse_lock(made.files[MARK]):
        message = f"`{folder}` was built from another state of this plan, or by another version of parc"
        help = f"its {MARK} differs from that of the plan: build it again, and edit the result"
        return error("P623", message, help=help)
    return None


def _parse_lock(mark: bytes) -> object:
    """The record of a build, but for what building has compared with the model. Compiling alone does not."""
    try:
        lock = loads(mark)
    except ValueError:
        return None
    return {**lock, "validation": None} if isinstance(lock, dict) else None


@contextmanager
def _provide_folder(made: Compiled, edited: Path | None) -> Iterator[Path]:
    """The folder of the program: the edited one, or a temporary one with the emitted files."""
    if edited is not None:
        yield edited
        return
    with make_temporary() as scratch:
        folder = scratch / "program"
        write(made.files, folder)
        yield folder


def _style_verdict(line: str, found: RungVerdict) -> str:
    """Lines, with the verdict in its colour on a terminal."""
    line = "\n".join(map(escape_controls, line.split("\n")))
    return line.replace(found, f"{STYLES[found]}{found}{RESET}", 1) if wants_color(sys.stdout) else line
