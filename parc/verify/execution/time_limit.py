"""A time limit for code of the main thread."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class TimeLimitExceeded(BaseException):
    """Not an Exception: a program under test may catch those."""


@contextmanager
def limit_time(seconds: float) -> Iterator[None]:
    """Raises TimeLimitExceeded in the main thread where the block takes longer than `seconds`."""

    def interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise TimeLimitExceeded(f"it was not done after {seconds:g} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
