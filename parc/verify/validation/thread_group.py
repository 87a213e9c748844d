"""A process group whose ranks are threads: operands meet in memory, without sockets."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import ReduceOp
from torch.testing._internal.distributed.multi_threaded_pg import ThreadLocalWorld

from parc.verify.execution.process_group import PythonGroup
from parc.verify.validation.turns import Turns

T = TypeVar("T")

BACKEND = "parc_threads"
_c10d: Any = torch._C._distributed_c10d  # whose stubs lack much of it
_REDUCTIONS: tuple[tuple[Any, str, Callable[[Tensor], Tensor]], ...] = (
    (ReduceOp.SUM, "sum", lambda terms: terms.sum(0)),
    (ReduceOp.MAX, "max", lambda terms: terms.amax(0)),
)


class Mismatch(Exception):
    """Ranks of one group have issued different operations, or operands that do not fit each other."""


class Unsupported(Exception):
    """An operation that threads do not have."""


@dataclass(frozen=True)
class _Call:
    """What one rank has issued: the operation with its types, its operand and its result."""

    what: str
    operand: Tensor
    result: Tensor
    sent: Sequence[int] = ()  # rows to each rank, of an all-to-all
    received: Sequence[int] = ()


@dataclass
class _Meeting:
    """An operation of a group, which is complete when every rank of it has issued it."""

    calls: dict[int, _Call] = field(default_factory=dict)
    done: bool = False


@dataclass
class _Mail:
    """What one rank sends another, in order; None where it was received. `requested`: receives posted."""

    letters: list[Tensor | None] = field(default_factory=list)
    requested: int = 0


@dataclass
class _Exchange:
    """What the ranks of a run share."""

    turns: Turns
    meetings: dict[tuple[str, int], _Meeting] = field(default_factory=dict)
    mail: dict[tuple[str, int, int, int], _Mail] = field(default_factory=dict)


_running: list[_Exchange] = []  # the run of this process, which its groups belong to


def run_ranks_as_threads(world: int, work: Callable[[int], T]) -> list[T]:
    """`work(rank)` of every rank, each a thread with the default process group of a rank of `world`.

    Raises what a rank raises, Mismatch, and Deadlock. Works in a process that has joined no group itself.
    """
    turns, store = Turns(world), _c10d.HashStore()

    def join_and_work(rank: int) -> T:
        dist.init_process_group(BACKEND, store=store, rank=rank, world_size=world)
        return work(rank)

    exchange = _Exchange(turns)
    with _run_threads_as_ranks(exchange):
        results = turns.run(join_and_work)
    if left := [
        *exchange.meetings,
        *(key for key, mail in exchange.mail.items() if any(each is not None for each in mail.letters)),
    ]:
        raise Mismatch(
            f"{len(left)} operations are left that no other rank has joined, as one of {left[0][0]}"
        )
    return results


@contextmanager
def _run_threads_as_ranks(exchange: _Exchange) -> Iterator[None]:
    """Gives each thread process groups of its own, which meet in `exchange`."""
    if BACKEND not in dist.Backend.backend_list:
        dist.Backend.register_backend(BACKEND, _create_group, devices=["cpu"])
    module: Any = dist.distributed_c10d
    world, excepthook = module._world, sys.excepthook  # which a group prefixes with its rank
    module._world = ThreadLocalWorld()
    barrier = os.environ.pop("TORCH_DIST_INIT_BARRIER", None)  # a wait that gives no other rank its turn
    _c10d._set_thread_isolation_mode(True)
    _running.append(exchange)
    try:
        yield
    finally:
        _running.pop()
        _c10d._set_thread_isolation_mode(False)
        module._world = world
        sys.excepthook = excepthook
        if barrier is not None:
            os.environ["TORCH_DIST_INIT_BARRIER"] = barrier


def _create_group(_store: object, rank: int, size: int, _timeout: object) -> ThreadGroup:
    return ThreadGroup(rank, size, _running[-1])


class _ThreadWork(dist.Work):
    """An operation that may not be complete yet."""

    def __init__(self, wait: Callable[[], None]) -> None:
        super().__init__()
        self._wait = wait

    def wait(self, timeout: object = None) -> bool:
        self._wait()
        return True


class ThreadGroup(PythonGroup):
    """One rank of a group of threads. It has the operations that emitted programs issue."""

    backend = BACKEND

    def __init__(self, rank: int, size: int, exchange: _Exchange) -> None:
        super().__init__(rank, size)
        self._exchange, self._issued = exchange, 0

    def allreduce(self, tensors: list[Tensor], opts: Any) -> _ThreadWork:
        (tensor,) = tensors
        name, reduce = _find_reduction(opts)

        def complete(calls: Sequence[_Call]) -> None:
            total = reduce(torch.stack([call.operand for call in calls]))
            for call in calls:
                _fill(call, total)

        return self._meet(f"all_reduce({name}) of {_describe(tensor)}", complete, tensor, tensor)

    def all_gather_single(self, out: Tensor, tensor: Tensor, opts: Any = None) -> _ThreadWork:
        def complete(calls: Sequence[_Call]) -> None:
            whole = torch.cat([call.operand.flatten() for call in calls])
            for call in calls:
                _fill(call, whole)

        return self._meet(f"all_gather of {_describe(tensor)}", complete, tensor, out)

    def reduce_scatter_single(self, out: Tensor, tensor: Tensor, opts: Any) -> _ThreadWork:
        name, reduce = _find_reduction(opts)

        def complete(calls: Sequence[_Call]) -> None:
            total = reduce(torch.stack([call.operand for call in calls]))
            for call, share in zip(calls, total.view(len(calls), -1), strict=True):
                _fill(call, share)

        return self._meet(f"reduce_scatter({name}) of {_describe(tensor)}", complete, tensor, out)

    def all_to_all_single(
        self, out: Tensor, tensor: Tensor, received: list[int], sent: list[int], opts: Any = None
    ) -> _ThreadWork:
        """`received` and `sent`: the rows from and to each rank; empty where the shares are equal."""

        def complete(calls: Sequence[_Call]) -> None:
            parts = [torch.split(call.operand, list(call.sent)) for call in calls]
            for rank, call in enumerate(calls):
                found = [each[rank] for each in parts]
                if [len(part) for part in found] != list(call.received):
                    raise Mismatch(
                        f"rank {rank} of {self.group_name} expects {call.received} rows of {found}"
                    )
                _fill(call, torch.cat(found))

        counts = [len(held) // self._size for held in (tensor, out)]
        shares = [sent or [counts[0]] * self._size, received or [counts[1]] * self._size]
        row = f"{tensor.dtype}{list(tensor.shape[1:])}"
        return self._meet(f"all_to_all of rows {row}", complete, tensor, out, *shares)

    def broadcast(self, tensors: list[Tensor], opts: Any) -> _ThreadWork:
        (tensor,) = tensors
        root = opts.rootRank

        def complete(calls: Sequence[_Call]) -> None:
            for call in calls:
                _fill(call, calls[root].operand)

        return self._meet(f"broadcast from {root} of {_describe(tensor)}", complete, tensor, tensor)

    def barrier(self, opts: Any = None) -> _ThreadWork:
        nothing = torch.empty(0)
        return self._meet("barrier", lambda calls: None, nothing, nothing)

    def send(self, tensors: list[Tensor], peer: int, tag: int) -> _ThreadWork:
        (tensor,) = tensors
        self._find_mail(self._rank, peer, tag).letters.append(tensor.detach().clone())
        return _ThreadWork(lambda: None)

    def recv(self, tensors: list[Tensor], peer: int, tag: int) -> _ThreadWork:
        """The n-th receive that is posted gets the n-th tensor that is sent, whenever it is awaited."""
        (tensor,) = tensors
        mail = self._find_mail(peer, self._rank, tag)
        number, pending = mail.requested, [tensor]
        mail.requested += 1

        def receive() -> None:
            if not pending:
                return
            what = f"a tensor of rank {peer} of {self.group_name}"
            self._exchange.turns.wait(lambda: len(mail.letters) > number, what)
            letter, into = mail.letters[number], pending.pop()
            mail.letters[number] = None
            assert letter is not None
            if (letter.shape, letter.dtype) != (into.shape, into.dtype):
                raise Mismatch(f"a rank sends {_describe(letter)} where {_describe(into)} is expected")
            into.detach().copy_(letter)

        return _ThreadWork(receive)

    def _find_mail(self, sender: int, receiver: int, tag: int) -> _Mail:
        return self._exchange.mail.setdefault((self.group_name, sender, receiver, tag), _Mail())

    def _meet(
        self,
        what: str,
        complete: Callable[[Sequence[_Call]], None],
        operand: Tensor,
        result: Tensor,
        sent: Sequence[int] = (),
        received: Sequence[int] = (),
    ) -> _ThreadWork:
        """Issues an operation, which the last rank of the group completes for all."""
        self._issued += 1
        meeting = self._exchange.meetings.setdefault((self.group_name, self._issued), _Meeting())
        meeting.calls[self._rank] = _Call(what, operand.detach(), result.detach(), sent, received)
        if len(meeting.calls) == self._size:
            calls = [meeting.calls[rank] for rank in range(self._size)]
            for rank, call in enumerate(calls):
                if call.what != calls[0].what:
                    ranks = f"rank 0 issues {calls[0].what}, rank {rank} {call.what}"
                    raise Mismatch(f"in the group {self.group_name} {ranks}")
            with torch.no_grad():
                complete(calls)
            meeting.done = True
            del self._exchange.meetings[self.group_name, self._issued]
        return _ThreadWork(lambda: self._exchange.turns.wait(lambda: meeting.done, what))


def _find_reduction(opts: Any) -> tuple[str, Callable[[Tensor], Tensor]]:
    for op, name, reduce in _REDUCTIONS:
        if opts.reduceOp == op:
            return name, reduce
    raise Unsupported(f"{opts.reduceOp} among threads")


def _fill(call: _Call, value: Tensor) -> None:
    """Raises Mismatch where the result that a rank gives does not fit the value."""
    if (call.result.numel(), call.result.dtype) != (value.numel(), value.dtype):
        raise Mismatch(
            f"{call.what} yields {_describe(value)}, and a rank gives {_describe(call.result)} for it"
        )
    call.result.copy_(value.reshape(call.result.shape))


def _describe(tensor: Tensor) -> str:
    return f"{tensor.dtype}{list(tensor.shape)}"
