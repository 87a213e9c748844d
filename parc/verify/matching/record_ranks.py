"""What an emitted program issues in its first step: each rank run for itself, with nobody to talk to."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any

import torch

from parc.plan.mesh import Mesh
from parc.runtime import pipeline, training  # noqa: F401 - torch's modules, once for all ranks
from parc.runtime.connect import cores
from parc.runtime.processes import die_with
from parc.verify.matching.record_rank import Ended, Result, left, rehearsed

GRACE = 5.0  # seconds in which a late rank may say where it is


def record(folder: Path, mesh: Mesh, ranks: Sequence[int], timeout: float) -> dict[int, Result]:
    """The program's first step on some of its ranks, each in a process of its own that ends with this call.

    `timeout` is a rank's, in seconds: when one is late, those that are left are not recorded.
    """
    left, results = list(reversed(ranks)), dict[int, Result]()
    running: dict[Any, _Running] = {}  # by their pipes
    late = False
    try:
        while running or (left and not late):
            while left and not late and len(running) < cores():
                started = _start(folder.absolute(), mesh, left.pop(), timeout)
                running[started.pipe] = started
            soonest = min(each.deadline for each in running.values())
            for pipe in wait(list(running), max(0.0, soonest - monotonic())):
                ended = running.pop(pipe)
                results[ended.rank] = ended.result()
            for each in [each for each in running.values() if each.deadline <= monotonic()]:
                running.pop(each.pipe).stop()
                results[each.rank] = Ended(f"it was not done after {timeout:g} s", late=True)
            late = any(isinstance(each, Ended) and each.late for each in results.values())
    finally:
        for each in running.values():
            each.stop()
    return {rank: results[rank] for rank in ranks if rank in results}


@dataclass
class _Running:
    """A rank that is being recorded."""

    rank: int
    process: BaseProcess
    pipe: Connection
    deadline: float

    def result(self) -> Result:
        """What it has told, or how it died."""
        try:
            told: Result = self.pipe.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode or 0
            killed = f"its process was killed by {signal.Signals(-code).name}" if code < 0 else ""
            told = Ended(killed or left(code), limited=code < 0)
        self.stop()
        return told

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _start(folder: Path, mesh: Mesh, rank: int, timeout: float) -> _Running:
    context = get_context("fork")  # torch is imported already
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(writing, os.getpid(), folder, mesh, rank, timeout), daemon=True
    )
    process.start()
    writing.close()
    return _Running(rank, process, reading, monotonic() + timeout + GRACE)


def _child(pipe: Connection, parent: int, folder: Path, mesh: Mesh, rank: int, timeout: float) -> None:
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which stops us
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    torch.set_num_threads(1)
    pipe.send(rehearsed(folder, mesh, rank, timeout))
    pipe.close()
    os._exit(0)  # no destructor of a group that never was
