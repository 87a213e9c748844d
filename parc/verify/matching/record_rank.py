"""Runs the first step of one rank of an emitted program in this process, and records its operations.

The program's own `train.py` prepares the rank and takes the step, on a fake process group
(`fake_process_group.py`) and on tensors without data (`dataless.py`). The process cannot be used for
anything else afterwards.
"""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from parc.capture.source_lines import read_message
from parc.plan.mesh import Mesh
from parc.trace.ops import IssuedOp
from parc.verify.execution.time_limit import TimeLimitExceeded, limit_time
from parc.verify.execution.trainer import load_trainer
from parc.verify.matching.dataless import dataless_mode
from parc.verify.matching.fake_process_group import FakeProcessGroup
from parc.verify.matching.operation_log import OperationLog
from parc.verify.source_lines import ProgramFrame

BACKEND = "parc_fake"


@dataclass(frozen=True)
class RecordedOps:
    """The operations of a rank, and the program's frames that each comes from, innermost first."""

    issued: tuple[IssuedOp, ...]
    frames: tuple[tuple[ProgramFrame, ...], ...]


@dataclass(frozen=True)
class FailedStep:
    """A rank whose program did not come to the end of its step."""

    reason: str
    frames: tuple[ProgramFrame, ...] = ()  # of the program, innermost first
    timed_out: bool = False
    unsupported: bool = False  # the program is not to blame: it cannot run without data, or was killed


StepResult: TypeAlias = RecordedOps | FailedStep


def record_rank(folder: Path, mesh: Mesh, rank: int, timeout: float) -> StepResult:
    """The operations of the program in `folder` as one of the ranks of `mesh`. `timeout` is in seconds."""
    with Path(os.devnull).open("w") as nowhere:
        for stream in (1, 2):
            os.dup2(nowhere.fileno(), stream)
    log = OperationLog(folder, mesh)
    try:
        with limit_time(timeout):
            _install_fake_groups(log, rank, mesh.size)
            with dataless_mode(log.add_functional):
                sys.dont_write_bytecode = True  # the folder may be the user's
                load_trainer(folder, _Zeros(), "cpu").step(0)
    except BaseException as fault:  # noqa: BLE001 - whatever ends a program is reported, SystemExit too
        return _describe_failure(fault, folder)
    return RecordedOps(log.tape.list_issued(), tuple(log.frames))


def describe_exit(status: object) -> str:
    """The failure of a rank that ends its own process before its step is done."""
    success = ", as if it had succeeded" if status in (0, None) else ""
    return f"it ends by itself with exit status {status or 0}{success}"


def _install_fake_groups(log: OperationLog, rank: int, world: int) -> None:
    """Makes every process group that is created from here on a fake one."""

    def create_group(_store: object, rank: int, size: int, _timeout: object) -> FakeProcessGroup:
        return FakeProcessGroup(rank, size, log)

    def issue_batch(ops: list[dist.P2POp]) -> list[dist.Work]:
        with log.record_batch():
            return list(filter(None, map(issue, ops)))

    def issue(op: dist.P2POp) -> dist.Work | None:
        to = {"group_dst" if op.op is dist.isend else "group_src": op.group_peer}
        work: dist.Work | None = op.op(op.tensor, group=op.group, tag=op.tag, **to)
        return work

    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(world), LOCAL_WORLD_SIZE=str(world)
    )
    dist.Backend.register_backend(BACKEND, create_group, devices=["cpu"])
    for module in (dist, dist.distributed_c10d):
        vars(module)["batch_isend_irecv"] = issue_batch
    dist.init_process_group(BACKEND, store=FakeStore(), rank=rank, world_size=world)


class _Zeros:
    """An endless dataset."""

    def __len__(self) -> int:
        return 1 << 40

    def read(self, start: int, length: int) -> Tensor:
        return torch.zeros(length, dtype=torch.int64)


def _describe_failure(fault: BaseException, folder: Path) -> FailedStep:
    while fault.__cause__ is not None:
        fault = fault.__cause__
    inside = f"{folder}/"
    lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(fault.__traceback__)]
    if isinstance(fault, SyntaxError):
        lines.append((str(fault.filename), fault.lineno))
    frames = tuple(
        ProgramFrame(file.removeprefix(inside), line or 0)
        for file, line in reversed(lines)
        if file.startswith(inside)
    )
    message = read_message(fault).strip().split("\n")[0]
    if isinstance(fault, TimeLimitExceeded):
        return FailedStep(message, frames, timed_out=True)
    if isinstance(fault, NotImplementedError) or "meta tensor" in message.lower():
        return FailedStep(f"without data, {message.partition('. ')[0]}", frames, unsupported=True)
    if isinstance(fault, SystemExit):
        return FailedStep(describe_exit(fault.code), frames)
    return FailedStep(f"{type(fault).__name__}: {message}", frames)
