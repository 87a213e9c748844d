"""One rank of an emitted program, run for its first step in this process, edits by hand included.

Its own `train.py` prepares the rank and takes the step, under a process group that only listens (`fake.py`),
on tensors without data (`hollow.py`). The process is of no other use afterwards.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from parc.plan.mesh import Mesh
from parc.trace.groups import axis_of
from parc.trace.ops import Issue
from parc.verify.execution.stack_frames import Frame
from parc.verify.matching.dataless import hollow
from parc.verify.matching.fake_process_group import FakeGroup
from parc.verify.matching.operation_log import Listener

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
    late: bool = False
    limited: bool = False  # nothing that the program is to blame for


Result: TypeAlias = Recorded | Ended


def left(status: object) -> str:
    """That a rank has ended its own process before its step was done; 0 would pass for success."""
    well = ", as if all were well" if status in (0, None) else ""
    return f"it ends by itself with exit status {status or 0}{well}"


def rehearsed(folder: Path, mesh: Mesh, rank: int, timeout: float) -> Result:
    """What the program issues as one of the ranks of `mesh`; `timeout` is in seconds."""

    def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Late(f"it was not done after {timeout:g} s")

    listener = Listener(folder, lambda ranks: axis_of(mesh, ranks))
    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        _listened_to(listener, rank, mesh.size)
        with hollow(listener.functional):
            _step(folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except BaseException as fault:  # noqa: BLE001 - whatever ends a program is told, SystemExit too
        return _ended(fault, folder)
    return Recorded(listener.tape.issues(), tuple(listener.frames))


class _Late(BaseException):
    """The time is over."""


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
    while fault.__cause__ is not None:
        fault = fault.__cause__
    inside = f"{folder}/"
    frames = [
        Frame(frame.filename.removeprefix(inside), frame.lineno or 0)
        for frame in reversed(traceback.extract_tb(fault.__traceback__))
        if frame.filename.startswith(inside)
    ]
    if isinstance(fault, SyntaxError) and str(fault.filename).startswith(inside):
        frames.insert(0, Frame(str(fault.filename).removeprefix(inside), fault.lineno or 0))
    said = str(fault).strip().split("\n")[0]
    if isinstance(fault, _Late):
        return Ended(said, tuple(frames), late=True)
    if isinstance(fault, NotImplementedError) or "meta tensor" in said.lower():
        return Ended(f"without data, {said.partition('. ')[0]}", tuple(frames), limited=True)
    reason = left(fault.code) if isinstance(fault, SystemExit) else f"{type(fault).__name__}: {said}"
    return Ended(reason, tuple(frames))
