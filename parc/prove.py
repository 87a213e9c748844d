"""`parc verify`: a plan is compiled and its proof climbed, each rung told as it is reached.

Exit codes: 0 proved, 1 refuted, 2 not provable, refused plans among that.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from parc.check.load import load
from parc.commands.show import colored, show
from parc.diagnostic import Diagnostic, error
from parc.driver import Compiled, compiled
from parc.emit.write import MARK, write
from parc.render import json
from parc.render.text import BOLD, GREEN, RED, RESET, printable
from parc.verify.ladder import RUNGS, ProgramUnderTest, ProofOptions, RungName, choose_rungs, run_rungs
from parc.verify.report import Verdict, combine_verdicts, format_json, format_rung, format_summary

CODES: dict[Verdict, int] = {"proved": 0, "refuted": 1, "not provable": 2}
STYLES: dict[Verdict, str] = {"proved": GREEN, "refuted": RED, "not provable": BOLD}
DAY = 86_400.0  # seconds
NAMED: dict[str, RungName] = {name: name for name in RUNGS}


def prove(options: argparse.Namespace) -> int:
    """The exit code. `options` are those of the command line."""
    start = perf_counter()
    made = _made(options)
    if not isinstance(made, Compiled):
        _refused(made, options.format)
        return CODES["not provable"]
    how = ProofOptions(_rungs(made, options), options.seed, options.timeout, options.device, _progress)
    rungs = []
    with _folder(made, options.folder) as folder:
        for rung in run_rungs(ProgramUnderTest(made.plan, made.program, made.files, folder), how):
            rungs.append(rung)
            if options.format == "text":
                print(_styled(format_rung(rung), rung.verdict), flush=True)
    seconds = perf_counter() - start
    found = combine_verdicts(rungs)
    if options.format == "json":
        print(format_json(made.plan.name, rungs, seconds), end="")
    else:
        print(_styled(format_summary(rungs, seconds), found))
    return CODES[found]


def _progress(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


def _made(options: argparse.Namespace) -> Compiled | tuple[Diagnostic, ...]:
    """The compiled plan, or why there is nothing to prove."""
    unknown = [name for name in _asked(options) if name not in RUNGS]
    if unknown:
        names = ", ".join(f"`{name}`" for name in RUNGS)
        return (error("P620", f"there is no rung `{unknown[0]}`", help=f"the rungs are {names}"),)
    if not 0 < options.timeout <= DAY:
        return (
            error(
                "P621",
                f"a step cannot take {options.timeout:g} s",
                help=f"--timeout is in seconds, above 0 and at most {DAY:,.0f}, a day",
            ),
        )
    made = compiled(load(options.file, options.set, options.allow_outside_imports), options.plan)
    if isinstance(made, Compiled) and options.folder and (fault := _foreign(made, options.folder)):
        return (fault,)
    return made


def _asked(options: argparse.Namespace) -> list[str]:
    return [name.strip() for name in options.rungs.split(",")] if options.rungs else []


def _rungs(made: Compiled, options: argparse.Namespace) -> tuple[RungName, ...]:
    asked = tuple(NAMED[name] for name in _asked(options)) or choose_rungs(made.plan, options.device)
    return (*asked, "mutants") if options.mutants and "mutants" not in asked else asked


def _foreign(made: Compiled, folder: Path) -> Diagnostic | None:
    """A folder must be what this plan was emitted to: else every line of it would look edited."""
    try:
        mark = (folder / MARK).read_bytes()
    except OSError:
        return error(
            "P622", f"`{folder}` is no folder that `parc build` has written", help=f"it has no {MARK}"
        )
    if mark != made.files[MARK]:
        return error(
            "P623",
            f"`{folder}` was not made from this plan as it is now, or by another version of parc",
            help=f"its {MARK} differs from what the plan gives: build it anew, and edit that",
        )
    return None


@contextmanager
def _folder(made: Compiled, edited: Path | None) -> Iterator[Path]:
    """Where the program lies: as the user has it, or as it is emitted."""
    if edited is not None:
        yield edited
        return
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        folder = Path(scratch) / "program"
        write(made.files, folder)
        yield folder


def _refused(found: Sequence[Diagnostic], form: str) -> None:
    if form == "json":
        print(json.render(found), end="")
    else:
        show(found, sys.stdout)


def _styled(said: str, found: Verdict) -> str:
    """The verdict in its colour, on a terminal."""
    said = printable(said)
    return said.replace(found, f"{STYLES[found]}{found}{RESET}", 1) if colored(sys.stdout) else said
