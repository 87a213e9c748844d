"""Records the operations of several ranks of an emitted program, each run alone in a process of its own."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import wait
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple

from parc.plan.mesh import Mesh
from parc.runtime import pipeline, training  # noqa: F401 - torch's modules, once for all ranks
from parc.runtime.process.connect import count_cores
from parc.verify.execution.subprocess import Fork, ProcessDied
from parc.verify.matching.record_rank import FailedStep, StepResult, describe_exit, record_rank

GRACE = 5.0  # seconds in which a late rank may report where it is


class _Recording(NamedTuple):
    rank: int
    fork: Fork
    deadline: float


def record_ranks(folder: Path, mesh: Mesh, ranks: Sequence[int], timeout: float) -> dict[int, StepResult]:
    """The operations of some ranks in the first step of the program in `folder`, by rank.

    `timeout` is that of one rank, in seconds. When a rank exceeds it, the ranks that have not started are
    left out. No process outlives this call.
    """
    waiting, results = list(reversed(ranks)), dict[int, StepResult]()
    running: dict[Any, _Recording] = {}  # by pipe
    late = False
    try:
        while running or (waiting and not late):
            while waiting and not late and len(running) < count_cores():
                rank = waiting.pop()
                fork = Fork.start(partial(record_rank, folder.absolute(), mesh, rank, timeout), threads=1)
                running[fork.pipe] = _Recording(rank, fork, monotonic() + timeout + GRACE)
            soonest = min(each.deadline for each in running.values())
            for pipe in wait(list(running), max(0.0, soonest - monotonic())):
                ended = running.pop(pipe)
                results[ended.rank] = _receive(ended.fork)
            for each in [each for each in running.values() if each.deadline <= monotonic()]:
                running.pop(each.fork.pipe).fork.stop()
                results[each.rank] = FailedStep(f"it was not done after {timeout:g} s", timed_out=True)
            late = any(isinstance(each, FailedStep) and each.timed_out for each in results.values())
    finally:
        for each in running.values():
            each.fork.stop()
    return {rank: results[rank] for rank in ranks if rank in results}


def _receive(fork: Fork) -> StepResult:
    try:
        result: StepResult = fork.receive()
    except ProcessDied as died:
        if died.code < 0:
            killed = f"its process was killed by {signal.Signals(-died.code).name}"
            result = FailedStep(killed, unsupported=True)
        else:
            result = FailedStep(describe_exit(died.code))
    fork.stop()
    return result
