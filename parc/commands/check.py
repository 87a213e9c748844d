"""`parc check`: the faults of plan files, once or at every change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from os.path import realpath
from pathlib import Path
from typing import NamedTuple, TypeAlias

from parc.check.load import load, load_text
from parc.commands.show import show
from parc.diagnostic import Diagnostic, has_errors
from parc.plan.imports import NO_TEXTS
from parc.render.text import summary
from parc.source import Source

OK, FAULTS, USAGE = 0, 1, 2
PAUSE = 0.3  # seconds between two looks at the files
State: TypeAlias = (
    "tuple[int, int] | None"  # when a file was last written, in ns, and its size; None: no file
)


class Found(NamedTuple):
    diagnostics: list[Diagnostic]
    plans: list[str]  # a line each
    files: set[Path]  # all that were read, or would have been

    @property
    def code(self) -> int:
        """A file that cannot be read is the caller's fault, everything else the plan's."""
        if any(each.code == "P009" for each in self.diagnostics):
            return USAGE
        return FAULTS if has_errors(self.diagnostics) else OK


def check(files: Sequence[Path], settings: Sequence[str], form: str, outside: bool = False) -> Found:
    """Check the files and print what there is to say."""
    found = look(files, settings, NO_TEXTS, outside)
    tell(found, form)
    return found


def tell(found: Found, form: str, fixed: int | None = None) -> None:
    """Print what there is to say; `fixed`: so many faults have just been mended."""
    if form == "text":
        show(found.diagnostics, sys.stdout, _closing(found.diagnostics, fixed))
        if not found.diagnostics:
            print("\n".join([*found.plans, f"{fixed} fixed, no faults left" if fixed else "no faults"]))
        return
    if form == "concise":
        from parc.render import text

        print(text.concise(found.diagnostics), end="")
    else:
        print(import_module(f"parc.render.{form}").render(found.diagnostics), end="")
    if fixed:
        print(f"{fixed} fixed", file=sys.stderr)


def _closing(left: Sequence[Diagnostic], fixed: int | None) -> str:
    """How many faults there are, and how many of them a command would mend."""
    told = f"{fixed} fixed, {summary(left)} left" if fixed else summary(left)
    safe = sum(bool(each.fix and each.fix.safe) for each in left)
    unsafe = sum(bool(each.fix and not each.fix.safe) for each in left)
    able = [f"{safe} fixable with --fix"] if safe else []
    able += [f"{unsafe} {'more' if safe else 'fixable'} with --unsafe-fixes"] if unsafe else []
    return f"{told} ({', '.join(able)})" if able else told


def look(
    files: Sequence[Path],
    settings: Sequence[str] = (),
    texts: Mapping[str, str] = NO_TEXTS,
    outside: bool = False,
) -> Found:
    """What is found in all of the files, a fault of a file that several import only once.

    `texts`, by their real paths, are read instead of files. Fixes that `fix` could not apply are left out.
    """
    found = Found([], [], set(files))
    named = set() if settings else {realpath(file) for file in files}
    seen = set()
    for file in files:
        text = texts.get(realpath(file))
        if text is None:
            loaded = load(file, settings, outside)
        else:
            loaded = load_text(Source(str(file), text), settings, texts, outside)
        for each in loaded.diagnostics:
            places = tuple((label.span.source.path, *label.span[1:]) for label in each.labels)
            if (each.code, each.message, places) not in seen:
                seen.add((each.code, each.message, places))
                able = each.fix and all(realpath(span.source.path) in named for span, _ in each.fix.edits)
                found.diagnostics.append(each if able or not each.fix else replace(each, fix=None))
        found.plans.extend(f"{file}: plan {plan.name}, {plan.mesh.size:,} ranks" for plan in loaded.plans)
        found.files.update(Path(source.path) for source in loaded.sources)
    return found


def watch(run: Callable[[], Found], pause: Callable[[], None] = lambda: time.sleep(PAUSE)) -> None:
    """Run, and again whenever a file changes, until the user interrupts."""
    states: dict[Path, State] = {}
    while True:
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")  # an empty screen
        states = _states(states)  # before the files are read, so that no change is missed
        files = run().files
        sys.stdout.flush()
        states = {file: states[file] if file in states else _state(file) for file in files}
        while _states(states) == states:
            pause()


def _states(files: Iterable[Path]) -> dict[Path, State]:
    return {file: _state(file) for file in files}


def _state(file: Path) -> State:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
