"""Ranks as threads of one process, which take turns: one runs until it waits, then another one does.

Turns are deterministic, and a deadlock is found at once: no rank is left that can go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


class Deadlock(Exception):
    """No rank can go on. The message names what each waits for."""


class _Ended(BaseException):
    """Ends a rank after another one has failed."""


@dataclass(frozen=True)
class _Wait:
    ready: Callable[[], bool]
    what: str


class Turns:
    """The turns of `world` ranks."""

    def __init__(self, world: int) -> None:
        self._turns = [threading.Semaphore(0) for _ in range(world)]
        self._waits = {rank: _Wait(lambda: True, "its start") for rank in range(world)}
        self._fault: BaseException | None = None
        self._own = threading.local()

    def run(self, work: Callable[[int], T]) -> list[T]:
        """`work(rank)` of every rank, in the order of the ranks.

        Raises what the first rank that fails raises, and Deadlock.
        """
        results: dict[int, T] = {}

        def run_rank(rank: int) -> None:
            self._own.rank = rank
            try:
                self._turns[rank].acquire()
                self._check()
                results[rank] = work(rank)
                self._pass_on()
            except _Ended:
                pass
            except BaseException as fault:  # noqa: BLE001 - whatever ends a rank is raised where it was started
                self._fail(fault)

        ranks = range(len(self._turns))
        threads = [threading.Thread(target=run_rank, args=(rank,), daemon=True) for rank in ranks]
        for thread in threads:
            thread.start()
        self._pass_on()
        for thread in threads:
            thread.join()
        if self._fault is not None:
            raise self._fault
        return [results[rank] for rank in ranks]

    def wait(self, ready: Callable[[], bool], what: str) -> None:
        """Lets the other ranks run until `ready`; `what` names the wait in a deadlock's message."""
        self._check()
        if ready():
            return
        rank = self._own.rank
        self._waits[rank] = _Wait(ready, what)
        self._pass_on()
        self._turns[rank].acquire()
        self._check()

    def _pass_on(self) -> None:
        """Gives the turn to a rank that can go on, unless all have ended."""
        for rank, wait in self._waits.items():
            if wait.ready():
                del self._waits[rank]
                self._turns[rank].release()
                return
        if self._waits:
            waits = "; ".join(f"rank {rank} waits for {wait.what}" for rank, wait in self._waits.items())
            raise Deadlock(waits)

    def _check(self) -> None:
        if self._fault is not None:
            raise _Ended

    def _fail(self, fault: BaseException) -> None:
        self._fault = self._fault or fault  # what follows from the first is none
        for turn in self._turns:
            turn.release()
