"""What an emitted program issues in its first step: each rank run for itself, with nobody to talk to.

The program runs as it stands, edits by hand included: its own `train.py` prepares the rank and takes one
step, under a process group that only listens (`fake.py`), on tensors without data (`hollow.py`).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from parc.plan.mesh import Mesh
from parc.runtime import pipeline, training  # noqa: F401 - torch's modules, once for all ranks
from parc.runtime.connect import cores
from parc.runtime.processes import die_with
from parc.trace.groups import axis_of
from parc.trace.ops import Issue
from parc.verify.fake import FakeGroup, Frame, Listener
from parc.verify.hollow import hollow

BACKEND = "parc_listens"


@dataclass(frozen=True)
class Recorded:
    """What a rank has issued, and the program's frames that each came from, innermost first."""

    issues: tuple[Issue, ...]
    frames: tuple[tuple[Frame, ...], ...]


@dataclass(frozen=True)
class Ended:
    """A rank whose program did not come to the end of its step."""

    reason: str
    frames: tuple[Frame, ...] = ()  # of the program, innermost first
    limited: bool = False  # the recorder's fault: it cannot do without data what the program asks for


Result: TypeAlias = Recorded | Ended


def record(folder: Path, mesh: Mesh, ranks: Sequence[int], timeout: float) -> dict[int, Result]:
    """The program's first step on some of its ranks, each in a process of its own that ends with this call.

    `timeout` is a rank's, in seconds.
    """
    left, results = list(reversed(ranks)), {}
    running: dict[Any, _Running] = {}  # by their pipes
    try:
        while left or running:
            while left and len(running) < cores():
                started = _start(folder.absolute(), mesh, left.pop(), timeout)
                running[started.pipe] = started
            soonest = min(each.deadline for each in running.values())
            for pipe in wait(list(running), max(0.0, soonest - monotonic())):
                ended = running.pop(pipe)
                results[ended.rank] = ended.result()
            for late in [each for each in running.values() if each.deadline <= monotonic()]:
                del running[late.pipe]
                late.stop()
                results[late.rank] = Ended(f"it was not done after {timeout:g} s")
    finally:
        for each in running.values():
            each.stop()
    return {rank: results[rank] for rank in ranks}


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
            told = Ended(f"its process died with exit code {self.process.exitcode}")
        self.stop()
        return told

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def _start(folder: Path, mesh: Mesh, rank: int, timeout: float) -> _Running:
    context = get_context("fork")  # torch is imported already
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(writing, os.getpid(), folder, mesh, rank), daemon=True)
    process.start()
    writing.close()
    return _Running(rank, process, reading, monotonic() + timeout)


def _child(pipe: Connection, parent: int, folder: Path, mesh: Mesh, rank: int) -> None:
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which stops us
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    torch.set_num_threads(1)
    pipe.send(_recorded(folder, mesh, rank))
    pipe.close()
    os._exit(0)  # no destructor of a group that never was


def _recorded(folder: Path, mesh: Mesh, rank: int) -> Result:
    listener = Listener(folder, lambda ranks: axis_of(mesh, ranks))
    try:
        _listened_to(listener, rank, mesh.size)
        with hollow(listener.functional):
            _step(folder)
    except BaseException as fault:  # noqa: BLE001 - whatever ends a program is told, SystemExit too
        return _ended(fault, folder)
    return Recorded(listener.tape.issues(), tuple(listener.frames))


def _listened_to(listener: Listener, rank: int, world: int) -> None:
    """Every group that is made from here on only listens."""

    def group(_store: object, rank: int, size: int, _timeout: object) -> FakeGroup:
        return FakeGroup(rank, size, listener)

    def batch(ops: list[dist.P2POp]) -> list[dist.Work]:
        with listener.batch():
            return list(filter(None, map(issue, ops)))

    def issue(op: dist.P2POp) -> dist.Work | None:
        to = {"group_dst" if op.op is dist.isend else "group_src": op.group_peer}
        work: dist.Work | None = op.op(op.tensor, group=op.group, tag=op.tag, **to)
        return work

    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world)
    )
    dist.Backend.register_backend(BACKEND, group, devices=["cpu"])
    for module in (dist, dist.distributed_c10d):
        vars(module)["batch_isend_irecv"] = batch
    dist.init_process_group(BACKEND, store=FakeStore(), rank=rank, world_size=world)


def _step(folder: Path) -> None:
    """The program's own preparation and its first step."""
    sys.dont_write_bytecode = True
    own = {path.stem for path in folder.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]  # another program's
    sys.path.insert(0, str(folder))
    import train  # type: ignore[import-not-found]

    options = train.parsed(["--data", "unused", "--device", "cpu"])
    train.prepare(_Zeros(), options, "cpu").step(0)


class _Zeros:
    """A dataset without end."""

    def __len__(self) -> int:
        return 1 << 40

    def window(self, start: int, length: int) -> Tensor:
        return torch.zeros(length, dtype=torch.int64)


def _ended(fault: BaseException, folder: Path) -> Ended:
    frames = [
        (frame.filename.removeprefix(f"{folder}/"), frame.lineno or 0)
        for frame in reversed(traceback.extract_tb(fault.__traceback__))
        if frame.filename.startswith(f"{folder}/")
    ]
    if isinstance(fault, SyntaxError) and (fault.filename or "").startswith(f"{folder}/"):
        frames.insert(0, (str(fault.filename).removeprefix(f"{folder}/"), fault.lineno or 0))
    said = str(fault).strip().split("\n")[0]
    limited = isinstance(fault, NotImplementedError) or "meta tensor" in said.lower()
    return Ended(f"{type(fault).__name__}: {said}", tuple(frames), limited)
