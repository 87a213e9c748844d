"""`parc check`: the faults of plan files, once or at every change."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, TypeAlias

from parc.check.load import load
from parc.diagnostic import Diagnostic, has_errors
from parc.faces.show import show

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


def check(files: Sequence[Path], settings: Sequence[str], form: str) -> Found:
    """Check the files and print what there is to say."""
    found = look(files, settings)
    if form == "text":
        show(found.diagnostics, sys.stdout)
        if not found.diagnostics:
            print("\n".join([*found.plans, "no faults"]))
    elif form == "concise":
        from parc.render import text

        print(text.concise(found.diagnostics), end="")
    else:
        print(import_module(f"parc.render.{form}").render(found.diagnostics), end="")
    return found


def look(files: Sequence[Path], settings: Sequence[str]) -> Found:
    """What is found in all of the files, a fault of a file that several import only once."""
    found = Found([], [], set(files))
    seen = set()
    for file in files:
        loaded = load(file, settings)
        for each in loaded.diagnostics:
            places = tuple((label.span.source.path, *label.span[1:]) for label in each.labels)
            if (each.code, each.message, places) not in seen:
                seen.add((each.code, each.message, places))
                found.diagnostics.append(each)
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
