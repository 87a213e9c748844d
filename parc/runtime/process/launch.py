"""Starting the ranks: all of them, forked from one parent that has imported torch; or one, by torchrun.

No rank outlives a run that ends. The first rank that fails is reported with its traceback, and the others are
stopped; Ctrl-C and SIGTERM stop all of them; if the parent, or the agent of torchrun, is killed, Linux kills
its children. A run that hangs ends as `watchdog.py` says.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import NoReturn

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import FileStore

from .connect import (
    TIMEOUT,
    compute_collective_timeout,
    connect,
    count_forked_threads,
    join_group,
    use_loopback,
)
from .store_file import make_store_file
from .watchdog import WATCHDOG

STOPPING = (signal.SIGINT, signal.SIGTERM)
TOGETHER = "together"
PR_SET_PDEATHSIG = 1  # linux/prctl.h
LAST_WORDS_WITHIN = 2.0  # seconds that a rank under torchrun has to print why the run ends


class RunStopped(SystemExit):
    """The ranks have found together that the run cannot go on. Each raises it, with the same message."""


class RankFailed(SystemExit):
    """A rank ended with an error. Uncaught, it prints that rank's report and exits with status 1.

    What all ranks have found together is printed as it is.
    """

    def __init__(self, rank: int, report: str, *, together: bool = False) -> None:
        super().__init__(report.rstrip() if together else f"rank {rank} failed:\n{report.rstrip()}")
        self.rank = rank
        self.report = report


def launch(
    world: int, target: Callable[..., None], *args: object, device: str = "cpu", timeout: float
) -> None:
    """Runs `target(*args)` on `world` ranks: under torchrun as one of them, else as forked children.

    A step, and the start, may take `timeout` seconds; then the run ends, and the rank that hangs is named.
    """
    if "RANK" not in os.environ:
        spawn(world, target, *args, device=device, timeout=compute_collective_timeout(timeout), watch=timeout)
        return
    if os.environ["WORLD_SIZE"] != str(world):
        raise SystemExit(f"the plan has {world} ranks, torchrun started {os.environ['WORLD_SIZE']}")
    die_with_parent(os.getppid())
    connect(device, compute_collective_timeout(timeout))
    WATCHDOG.start(timeout, lambda text: print(text, file=sys.stderr, flush=True))
    try:
        target(*args)
    except RunStopped:
        if dist.get_rank() == 0:
            raise
        time.sleep(LAST_WORDS_WITHIN)  # the agent ends all ranks with the first
        sys.exit(1)
    WATCHDOG.stop()
    dist.destroy_process_group()


def spawn(
    world: int,
    target: Callable[..., None],
    *args: object,
    device: str = "cpu",
    timeout: timedelta = TIMEOUT,
    watch: float | None = None,
) -> None:
    """Forks `world` ranks on this machine, runs `target(*args)` in each, and returns when all are done.

    A failing rank raises `RankFailed`; SIGINT and SIGTERM raise SystemExit(130) and SystemExit(143). No rank
    outlives this call. With `device="cuda"` the parent must not have used CUDA before. `timeout` is that of
    collectives; with `watch`, a step that takes so many seconds ends the run.
    """
    ranks: list[_Rank] = []
    sys.stdout.flush()
    sys.stderr.flush()
    with make_store_file() as store, exit_on_signal():
        try:
            threads = count_forked_threads(world)
            start = _Start(world, store, device, timeout, watch, threads)
            with _hold_signals():
                ranks.extend(_fork(number, start, target, args) for number in range(world))
            _watch(ranks)
        finally:
            _stop(ranks)


@dataclass(frozen=True)
class _Start:
    """What all forked ranks start with."""

    world: int
    store: str  # the file of the rendezvous
    device: str
    timeout: timedelta
    watch: float | None
    threads: int


@dataclass
class _Rank:
    number: int
    pid: int
    pipe: int  # where the parent reads the report of a failure; see `_format_report`
    report: bytearray = field(default_factory=bytearray)
    status: int | None = None  # exit status, or minus the signal, once it has ended

    def drain(self) -> bool:
        """Reads what the pipe holds; False at its end."""
        while True:
            try:
                piece = os.read(self.pipe, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self.report += piece

    def get_failure_time(self) -> float | None:
        """The time of its failure, if it is known to have failed; 0 where it died without a report."""
        if self.report:
            return float(self.report.split(b" ", 1)[0])
        return 0.0 if self.status else None

    def describe_failure(self) -> RankFailed:
        """With its traceback, or how it ended where it wrote none."""
        if not self.report:
            return RankFailed(self.number, f"ended by {_describe_status(self.status or 0)}")
        head, _, text = self.report.decode(errors="replace").partition("\n")
        return RankFailed(self.number, text, together=head.endswith(TOGETHER))


def _watch(ranks: list[_Rank]) -> None:
    """Returns when all ranks have succeeded; raises `RankFailed` soon after the first failure."""
    wait = None  # for ever, until a rank has failed
    with selectors.DefaultSelector() as pipes:
        for rank in ranks:
            pipes.register(rank.pipe, selectors.EVENT_READ, rank)
        while pipes.get_map() and (events := pipes.select(wait)):
            for key, _ in events:
                rank = key.data
                if not rank.drain():
                    pipes.unregister(rank.pipe)
                    rank.status = os.waitstatus_to_exitcode(os.waitpid(rank.pid, 0)[1])
                    if rank.status:
                        wait = 0
    failures = [(when, rank.number) for rank in ranks if (when := rank.get_failure_time()) is not None]
    if failures:
        # a rank writes its report before its sockets close: the earliest failure caused the others
        rank = ranks[min(failures)[1]]
        os.set_blocking(rank.pipe, True)  # part of its report may not have arrived yet
        rank.drain()
        raise rank.describe_failure()


def _stop(ranks: list[_Rank]) -> None:
    """Kills and reaps the ranks that still run."""
    for rank in ranks:
        if rank.status is None:
            os.kill(rank.pid, signal.SIGKILL)
    for rank in ranks:
        if rank.status is None:
            rank.status = os.waitstatus_to_exitcode(os.waitpid(rank.pid, 0)[1])
        os.close(rank.pipe)


def _fork(number: int, start: _Start, target: Callable[..., None], args: tuple[object, ...]) -> _Rank:
    """Forks one child that runs `target`; SIGINT and SIGTERM are blocked until it has its own handlers."""
    parent = os.getpid()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        os.set_blocking(reading, False)
        return _Rank(number, pid, reading)
    status = 1
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which stops us
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)
        world = str(start.world)
        os.environ.update(RANK=str(number), LOCAL_RANK=str(number), WORLD_SIZE=world, LOCAL_WORLD_SIZE=world)
        torch.set_num_threads(start.threads)
        use_loopback()
        store = FileStore(start.store, start.world)
        join_group(store, number, start.world, start.device, start.timeout)
        if start.watch is not None:
            WATCHDOG.start(start.watch, lambda text: _send_report(writing, text, together=True))
        target(*args)
        WATCHDOG.stop()
        dist.destroy_process_group()
        status = 0
    except RunStopped as stopped:
        _send_report(writing, str(stopped), together=True)
    except BaseException:  # noqa: BLE001 - whatever ends a rank is reported, SystemExit too
        _send_report(writing, traceback.format_exc())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # never return into the parent's frames


def _send_report(pipe: int, text: str, *, together: bool = False) -> None:
    """Writes the time, who has found the failure, a newline and the text. The parent reads until it ends."""
    with os.fdopen(pipe, "w") as report:
        report.write(f"{time.monotonic()} {TOGETHER if together else ''}\n{text}")


def die_with_parent(parent: int) -> None:
    """Asks Linux to kill this process when its parent dies for any reason."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        os._exit(1)


@contextmanager
def exit_on_signal() -> Iterator[None]:
    """SIGINT and SIGTERM raise SystemExit, with the status a shell expects, so that `finally` blocks run."""

    def ignore(_number: int, _frame: FrameType | None) -> None:
        pass

    def leave(number: int, _frame: FrameType | None) -> NoReturn:
        for other in STOPPING:  # a second one must not interrupt the clean-up
            signal.signal(other, ignore)  # not SIG_IGN: Python complains about a signal that is pending
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _hold_signals() -> Iterator[None]:
    """Delays SIGINT and SIGTERM to the end of the block, so that every child that they stop is on record."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPPING)


def _describe_status(status: int) -> str:
    if status == -signal.SIGKILL:
        return "signal SIGKILL (the system kills so when memory runs out)"
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
