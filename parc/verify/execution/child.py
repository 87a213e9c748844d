"""Running a built program as a child that never outlives this process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import partial

from parc.runtime.processes import die_with, exit_on_signal


def ran(command: Sequence[str]) -> int:
    """The exit status of a program. However this process ends, the program and its ranks end too."""
    with exit_on_signal():
        dies = partial(die_with, os.getpid())
        program = subprocess.Popen(command, preexec_fn=dies)  # noqa: PLW1509 - it takes no lock of a thread
        try:
            return program.wait()
        finally:
            program.terminate()  # it stops its ranks; nothing happens where it has ended
            program.wait()
