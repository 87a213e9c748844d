"""A process group that communicates with no other process and records its operations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ReduceOp

from parc.trace.ops import OpKind
from parc.verify.execution.process_group import PythonGroup
from parc.verify.matching.operation_log import OperationLog

_REDUCTIONS = {
    ReduceOp.SUM: "sum",
    ReduceOp.MAX: "max",
    ReduceOp.MIN: "min",
    ReduceOp.PRODUCT: "product",
    ReduceOp.AVG: "mean",
}


class FakeWork(dist.Work):
    """An operation that is complete when it is issued. Waiting for it is recorded."""

    def __init__(self, log: OperationLog, numbers: Sequence[int]) -> None:
        super().__init__()
        self._log, self.numbers = log, numbers

    def wait(self, timeout: object = None) -> bool:
        self._log.tape.wait(self.numbers)
        return True

    def is_completed(self) -> bool:
        return True


class FakeProcessGroup(PythonGroup):
    """One rank of a group, which communicates with no other rank and records what it is asked for.

    The other ranks are assumed to hold the same values: operations on tensors with data, counts and
    decisions, have the result that follows. Tensors without data stay as they are. Raises ValueError where
    sizes do not fit the group.
    """

    backend = "fake"

    def __init__(self, rank: int, size: int, log: OperationLog) -> None:
        super().__init__(rank, size)
        self._log = log

    def allreduce(self, tensors: list[Tensor], opts: Any = None) -> FakeWork:
        for tensor in tensors:
            self._sum(tensor, opts)
        return self._record("all_reduce", tensors, opts)

    allreduce_coalesced = allreduce

    def broadcast(self, tensors: list[Tensor], opts: Any = None) -> FakeWork:
        return self._record("broadcast", tensors, peer=opts.rootRank)

    def reduce(self, tensors: list[Tensor], opts: Any = None) -> FakeWork:
        return self._record("reduce", tensors, opts, opts.rootRank)

    def allgather(self, outs: list[list[Tensor]], tensors: list[Tensor], opts: Any = None) -> FakeWork:
        for parts, tensor in zip(outs, tensors, strict=True):
            for part in parts:
                _copy_data(part, tensor)
        return self._record("all_gather", tensors)

    def all_gather_single(self, out: Tensor, tensor: Tensor, opts: Any = None) -> FakeWork:
        _check_size("all_gather's result", out.numel(), tensor.numel() * self._size)
        for part in out.view(-1).chunk(self._size):
            _copy_data(part, tensor.reshape(-1))
        return self._record("all_gather", [tensor])

    def all_gather_single_coalesced(self, outs: list[Tensor], of: list[Tensor], opts: Any = None) -> FakeWork:
        return self._join([self.all_gather_single(*pair) for pair in zip(outs, of, strict=True)])

    def reduce_scatter(self, outs: list[Tensor], tensors: list[list[Tensor]], opts: Any = None) -> FakeWork:
        for out, parts in zip(outs, tensors, strict=True):
            _copy_data(out, parts[self._rank])
            self._sum(out, opts)
        return self._record("reduce_scatter", outs, opts)

    def reduce_scatter_single(self, out: Tensor, tensor: Tensor, opts: Any = None) -> FakeWork:
        _check_size("reduce_scatter's operand", tensor.numel(), out.numel() * self._size)
        _copy_data(out.view(-1), tensor.reshape(self._size, -1)[self._rank])
        self._sum(out, opts)
        return self._record("reduce_scatter", [out], opts)

    def reduce_scatter_single_coalesced(
        self, outs: list[Tensor], tensors: list[Tensor], opts: Any = None
    ) -> FakeWork:
        pairs = zip(outs, tensors, strict=True)
        return self._join([self.reduce_scatter_single(*pair, opts) for pair in pairs])

    def alltoall(self, outs: list[Tensor], tensors: list[Tensor], opts: Any = None) -> FakeWork:
        for out in outs:
            _copy_data(out, tensors[self._rank])
        return self._record("all_to_all", tensors)

    def all_to_all_single(
        self, out: Tensor, tensor: Tensor, received: list[int], sent: list[int], opts: Any = None
    ) -> FakeWork:
        """`received` and `sent`: the rows from and to each rank; empty where the shares are equal."""
        for what, held, sizes in (("result", len(out), received), ("operand", len(tensor), sent)):
            _check_size(
                f"all_to_all's {what}", held, sum(sizes) if sizes else held // self._size * self._size
            )
        if not sent and not received:
            for part in out.chunk(self._size):
                _copy_data(part, tensor.chunk(self._size)[self._rank])
        return self._record("all_to_all", [tensor])

    def gather(self, outs: list[list[Tensor]], tensors: list[Tensor], opts: Any = None) -> FakeWork:
        return self._record("gather", tensors, peer=opts.rootRank)

    def scatter(self, outs: list[Tensor], tensors: list[list[Tensor]], opts: Any = None) -> FakeWork:
        return self._record("scatter", outs, peer=opts.rootRank)

    def send(self, tensors: list[Tensor], peer: int, tag: int) -> FakeWork:
        return self._record("send", tensors, peer=peer)

    def recv(self, tensors: list[Tensor], peer: int, tag: int) -> FakeWork:
        for tensor in tensors:
            if not tensor.is_meta:
                tensor.fill_(1)  # a decision that is received is yes
        return self._record("recv", tensors, peer=peer)

    def barrier(self, opts: Any = None) -> FakeWork:
        return self._record("barrier", [torch.empty(0)])

    def _record(
        self, kind: OpKind, tensors: Sequence[Tensor], opts: Any = None, peer: int | None = None
    ) -> FakeWork:
        reduction = (
            None if opts is None else next(name for op, name in _REDUCTIONS.items() if opts.reduceOp == op)
        )
        added = [self._log.add(self, kind, tensor, reduction, peer) for tensor in tensors]
        return FakeWork(self._log, [number for numbers in added for number in numbers])

    def _join(self, parts: Sequence[FakeWork]) -> FakeWork:
        return FakeWork(self._log, [number for part in parts for number in part.numbers])

    def _sum(self, tensor: Tensor, opts: Any) -> None:
        if not tensor.is_meta and opts.reduceOp == ReduceOp.SUM:
            tensor.mul_(self._size)


def _copy_data(out: Tensor, value: Tensor) -> None:
    if not out.is_meta and not value.is_meta:
        out.copy_(value)


def _check_size(what: str, size: int, expected: int) -> None:
    if size != expected:
        raise ValueError(f"{what} has the size {size}, where the group's parts come to {expected}")
