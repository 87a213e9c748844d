"""Runs all ranks of a program, each under a watchdog that explains how a run ends.

A rank whose step exceeds the time-out makes every rank write its stack before any of them is stopped.
`diagnose.py` reads those stacks, and the report of the rank that failed first.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from threading import Timer
from typing import NoReturn, TextIO, TypeVar

import torch
import torch.distributed as dist

from parc.emit.scratch import make_temporary
from parc.runtime.process.launch import RankFailed, spawn
from parc.verify.execution.diagnose import RunFailed, diagnose
from parc.verify.report import RungFinding, format_ranks

T = TypeVar("T")

STACKS_WITHIN = 5.0  # seconds that all ranks have to write their stacks
LATE_WITHIN = 1.0  # seconds in which a late rank has left its note, once its connections have closed


def run_ranks(
    world: int, folder: Path, target: Callable[..., T], *args: object, timeout: float, device: str = "cpu"
) -> list[T]:
    """Runs `target(*args)` on each of `world` forked ranks; what they return, in the order of the ranks.

    `target` runs the program in `folder`. `timeout` limits each of its steps, in seconds; see
    `WATCHDOG.restart`. Raises RunFailed where a rank fails, hangs, or ends its process early.
    """
    with make_temporary() as scratch:
        try:
            arguments = (scratch, timeout, target, args)
            spawn(world, _run_watched, *arguments, device=device, timeout=timedelta(seconds=timeout))
        except RankFailed as failed:
            raise diagnose(failed, world, folder, scratch, timeout) from failed
        files = [scratch / f"{rank}.result" for rank in range(world)]
        if left := [rank for rank, file in enumerate(files) if not file.exists()]:
            # `os._exit(0)`, for example, looks like success
            message = f"{format_ranks(left)} ended before all steps were done, without an error"
            raise RunFailed("refuted", RungFinding(message))
        return [torch.load(file, weights_only=False) for file in files]


class _Watchdog:
    """A timer in a thread: a rank may wait where no signal reaches it, and gloo's groups wait on."""

    def __init__(self) -> None:
        self.files = Path()  # what this rank writes, but for the suffix
        self.stack: TextIO | None = None
        self.timeout = 0.0
        self.timer: Timer | None = None

    def restart(self) -> None:
        """Gives this rank the whole time-out again: called before and after each step."""
        self.stop()
        if self.timeout:
            self.timer = Timer(self.timeout, self._end_late_rank)
            self.timer.daemon = True
            self.timer.start()

    def stop(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def _end_late_rank(self) -> NoReturn:
        if self.stack is not None:
            faulthandler.dump_traceback(self.stack)
            _request_stacks(self.files)
        os._exit(1)


WATCHDOG = _Watchdog()


def _run_watched(
    scratch: Path, timeout: float, target: Callable[..., object], args: tuple[object, ...]
) -> None:
    files = scratch / str(dist.get_rank())
    with files.with_suffix(".log").open("w") as log:  # not the terminal: ranks are many, and say the same
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
    stack = files.with_suffix(".stack").open("w")
    faulthandler.register(signal.SIGUSR1, stack)
    faulthandler.enable(stack)  # for crashes
    files.with_suffix(".pid").write_text(str(os.getpid()))
    WATCHDOG.files, WATCHDOG.stack, WATCHDOG.timeout = files, stack, timeout
    WATCHDOG.restart()
    try:
        result = target(*args)
    except BaseException as fault:
        WATCHDOG.stop()
        files.with_suffix(".traceback").write_text(_format_frames(fault))
        if "timed out" in str(fault).lower() or "timeout" in str(fault).lower():
            _request_stacks(files)
        else:
            _await_stacks(scratch)
        raise
    WATCHDOG.stop()
    torch.save(result, files.with_suffix(".result"))


def _format_frames(fault: BaseException) -> str:
    """The frames of an exception, outermost first, and of its origin where handling that has failed too."""
    origin = fault
    while origin.__context__ is not None:
        origin = origin.__context__
    return "".join(
        line for each in dict.fromkeys((fault, origin)) for line in traceback.format_tb(each.__traceback__)
    )


def _request_stacks(late: Path) -> None:
    """Called by a late rank: makes all other ranks write their stacks."""
    late.with_suffix(".late").touch()
    stacks = []
    for file in late.parent.glob("*.pid"):
        if (pid := file.read_text()) and int(pid) != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGUSR1)
                stacks.append(file.with_suffix(".stack"))
    end = time.monotonic() + STACKS_WITHIN
    while time.monotonic() < end and not all(file.stat().st_size for file in stacks):
        time.sleep(0.05)
    time.sleep(0.2)  # a stack may be half written
    late.with_suffix(".requested").touch()


def _await_stacks(scratch: Path) -> None:
    """Delays the end of a rank that failed because a late rank closed its connections.

    The run ends with its first rank, and the stacks of all others must be written before that.
    """
    soon, end = time.monotonic() + LATE_WITHIN, time.monotonic() + 2 * STACKS_WITHIN
    while time.monotonic() < end:
        late = len(list(scratch.glob("*.late")))
        if late == len(list(scratch.glob("*.requested"))) and (late or time.monotonic() > soon):
            return
        time.sleep(0.05)
