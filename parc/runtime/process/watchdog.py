"""A run that hangs ends, and says which rank hangs and where.

Every rank watches its own steps from a thread. Ranks whose step is late write where they are to
the store that they have met in; the first of them reports, and all of them end.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, NoReturn

import torch.distributed as dist
from torch.distributed.distributed_c10d import _get_default_store

from .stacks import Activity, describe_hang, locate

ANSWERS_WITHIN = 5.0  # seconds that all ranks have to write where they are
ENDS_WITHIN = 3 * ANSWERS_WITHIN


class Watchdog:
    """Ends the process when what it does is late. Does nothing before `start`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.doing = ""
        self.deadline: float | None = None

    def start(self, seconds: float, report: Callable[[str], None]) -> None:
        """Watches this process, which has joined the default group, from here on.

        The start of the program and each of its steps may take so many `seconds`. `report` is called on one
        rank, from a thread, with the text of the report.
        """
        self.seconds = seconds
        store: Any = _get_default_store()
        self.store = store.clone()  # a connection of its own: the main thread may wait in the other
        self.report = report
        self.main = threading.main_thread().ident or 0
        self.restart("the start of the program")
        threading.Thread(target=self._watch, daemon=True).start()

    def restart(self, doing: str) -> None:
        """Gives this rank the whole time again, for what it does next."""
        self.doing, self.deadline = doing, time.monotonic() + self.seconds

    def stop(self) -> None:
        self.deadline = None

    def _watch(self) -> None:
        while (deadline := self.deadline) is not None:
            left = deadline - time.monotonic()
            if left <= 0:
                self._end_run()
            time.sleep(min(left, 1.0))  # it may be stopped meanwhile

    def _end_run(self) -> NoReturn:
        try:
            self.store.set(f"place/{dist.get_rank()}", json.dumps(asdict(locate(self.main))))
            if self.store.add("late", 1) == 1:
                head = f"{self.doing} was not done after {self.seconds:g} s (--timeout)"
                self.report(f"{head}: {describe_hang(self._gather_places())}")
            else:
                time.sleep(ENDS_WITHIN)  # whoever has started the ranks ends them with the one that reports
        finally:
            os._exit(1)

    def _gather_places(self) -> dict[int, Activity | None]:
        """Where every rank is; None for those that have not answered in time."""
        ranks = range(dist.get_world_size())
        missing, end = set(ranks), time.monotonic() + ANSWERS_WITHIN
        while missing and time.monotonic() < end:
            missing = {rank for rank in missing if not self.store.check([f"place/{rank}"])}
            time.sleep(0.1)
        return {rank: None if rank in missing else self._read_place(rank) for rank in ranks}

    def _read_place(self, rank: int) -> Activity:
        found = json.loads(self.store.get(f"place/{rank}"))
        return Activity(found["operation"], tuple(found["peers"]), tuple(found["lines"]), found["code"])


WATCHDOG = Watchdog()
"""That of this process."""
