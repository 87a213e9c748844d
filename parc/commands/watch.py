"""Runs a check again whenever one of its files changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NoReturn, TypeAlias

from parc.commands.check_files import Result

INTERVAL = 0.3  # seconds between two looks at the files
FileStamp: TypeAlias = "tuple[int, int] | None"  # time of the last change in ns, and size; None: no such file


def watch(run: Callable[[], Result], pause: Callable[[], None] = lambda: time.sleep(INTERVAL)) -> NoReturn:
    """Run, and run again after every change of a file that was read, until the user interrupts."""
    states: dict[Path, FileStamp] = {}
    while True:
        if sys.stdout.isatty():
            print("\033[2J\033[H", end="")  # clears the screen
        states = _get_states(states)  # before the files are read, so that no change is missed
        files = run().files
        sys.stdout.flush()
        states = {file: states[file] if file in states else _get_state(file) for file in files}
        while _get_states(states) == states:
            pause()


def _get_states(files: Iterable[Path]) -> dict[Path, FileStamp]:
    return {file: _get_state(file) for file in files}


def _get_state(file: Path) -> FileStamp:
    try:
        stat = file.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size
