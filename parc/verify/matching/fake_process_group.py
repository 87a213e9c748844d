"""A process group that communicates with nobody and writes down what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ProcessGroup, ReduceOp

from parc.trace.ops import Kind
from parc.verify.matching.operation_log import Listener

_REDUCTIONS = {
    ReduceOp.SUM: "sum",
    ReduceOp.MAX: "max",
    ReduceOp.MIN: "min",
    ReduceOp.PRODUCT: "product",
    ReduceOp.AVG: "mean",
}


class Issued(dist.Work):
    """Complete as soon as it is issued; tells when it is waited for."""

    def __init__(self, listener: Listener, numbers: Sequence[int]) -> None:
        super().__init__()
        self._listener, self._numbers = listener, numbers

    def wait(self, timeout: object = None) -> bool:
        self._listener.tape.wait(self._numbers)
        return True

    def is_completed(self) -> bool:
        return True


_Group: Any = ProcessGroup  # its stubs list calls that nobody makes of a group in Python


class FakeGroup(_Group):  # type: ignore[misc]
    """One rank of a group whose others are taken to hold what this one does.

    What has data, counts and decisions, is answered; tensors without data stay as they are. Raises ValueError
    where sizes do not fit the group.
    """

    def __init__(self, rank: int, size: int, listener: Listener) -> None:
        super().__init__(rank, size)
        self._rank, self._size, self._listener = rank, size, listener

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size

    def getBackendName(self) -> str:
        return "fake"

    @property
    def group_name(self) -> str:
        return str(dist.distributed_c10d._world.pg_names[self])

    def allreduce(self, tensors: list[Tensor], opts: Any = None) -> Issued:
        for tensor in tensors:
            self._sum_up(tensor, opts)
        return self._heard("all_reduce", tensors, opts)

    allreduce_coalesced = allreduce

    def broadcast(self, tensors: list[Tensor], opts: Any = None) -> Issued:
        return self._heard("broadcast", tensors, peer=opts.rootRank)

    def reduce(self, tensors: list[Tensor], opts: Any = None) -> Issued:
        return self._heard("reduce", tensors, opts, opts.rootRank)

    def allgather(self, outs: list[list[Tensor]], tensors: list[Tensor], opts: Any = None) -> Issued:
        for parts, tensor in zip(outs, tensors, strict=True):
            for part in parts:
                _answer(part, tensor)
        return self._heard("all_gather", tensors)

    def all_gather_single(self, out: Tensor, tensor: Tensor, opts: Any = None) -> Issued:
        _fits("all_gather's result", out.numel(), tensor.numel() * self._size)
        for part in out.view(-1).chunk(self._size):
            _answer(part, tensor.reshape(-1))
        return self._heard("all_gather", [tensor])

    def all_gather_single_coalesced(self, outs: list[Tensor], of: list[Tensor], opts: Any = None) -> Issued:
        return self._joined([self.all_gather_single(*pair) for pair in zip(outs, of, strict=True)])

    def reduce_scatter(self, outs: list[Tensor], tensors: list[list[Tensor]], opts: Any = None) -> Issued:
        for out, parts in zip(outs, tensors, strict=True):
            _answer(out, parts[self._rank])
            self._sum_up(out, opts)
        return self._heard("reduce_scatter", outs, opts)

    def reduce_scatter_single(self, out: Tensor, tensor: Tensor, opts: Any = None) -> Issued:
        _fits("reduce_scatter's operand", tensor.numel(), out.numel() * self._size)
        _answer(out.view(-1), tensor.reshape(self._size, -1)[self._rank])
        self._sum_up(out, opts)
        return self._heard("reduce_scatter", [out], opts)

    def reduce_scatter_single_coalesced(
        self, outs: list[Tensor], tensors: list[Tensor], opts: Any = None
    ) -> Issued:
        pairs = zip(outs, tensors, strict=True)
        return self._joined([self.reduce_scatter_single(*pair, opts) for pair in pairs])

    def alltoall(self, outs: list[Tensor], tensors: list[Tensor], opts: Any = None) -> Issued:
        for out in outs:
            _answer(out, tensors[self._rank])
        return self._heard("all_to_all", tensors)

    def all_to_all_single(
        self, out: Tensor, tensor: Tensor, received: list[int], sent: list[int], opts: Any = None
    ) -> Issued:
        """`received` and `sent` are the rows from and to each rank; equal shares where there are none."""
        for what, held, sizes in (("result", len(out), received), ("operand", len(tensor), sent)):
            _fits(f"all_to_all's {what}", held, sum(sizes) if sizes else held // self._size * self._size)
        if not sent and not received:
            for part in out.chunk(self._size):
                _answer(part, tensor.chunk(self._size)[self._rank])
        return self._heard("all_to_all", [tensor])

    def gather(self, outs: list[list[Tensor]], tensors: list[Tensor], opts: Any = None) -> Issued:
        return self._heard("gather", tensors, peer=opts.rootRank)

    def scatter(self, outs: list[Tensor], tensors: list[list[Tensor]], opts: Any = None) -> Issued:
        return self._heard("scatter", outs, peer=opts.rootRank)

    def send(self, tensors: list[Tensor], peer: int, tag: int) -> Issued:
        return self._heard("send", tensors, peer=peer)

    def recv(self, tensors: list[Tensor], peer: int, tag: int) -> Issued:
        for tensor in tensors:
            if not tensor.is_meta:
                tensor.fill_(1)  # yes, where a decision is received
        return self._heard("recv", tensors, peer=peer)

    def barrier(self, opts: Any = None) -> Issued:
        return self._heard("barrier", [torch.empty(0)])

    def _heard(
        self, kind: Kind, tensors: Sequence[Tensor], opts: Any = None, peer: int | None = None
    ) -> Issued:
        how = None if opts is None else next(name for op, name in _REDUCTIONS.items() if opts.reduceOp == op)
        numbers = [n for tensor in tensors for n in self._listener.heard(self, kind, tensor, how, peer)]
        return Issued(self._listener, numbers)

    def _joined(self, parts: Sequence[Issued]) -> Issued:
        return Issued(self._listener, [number for part in parts for number in part._numbers])

    def _sum_up(self, tensor: Tensor, opts: Any) -> None:
        if not tensor.is_meta and opts.reduceOp == ReduceOp.SUM:
            tensor.mul_(self._size)


def _answer(out: Tensor, value: Tensor) -> None:
    if not out.is_meta and not value.is_meta:
        out.copy_(value)


def _fits(what: str, have: int, wanted: int) -> None:
    if have != wanted:
        raise ValueError(f"{what} has the size {have}, where the group's parts come to {wanted}")
