"""Limits of time hold on the machine where they were measured; on a slower one they grow in proportion."""

from __future__ import annotations

import time
from collections.abc import Callable

TURNS = 20_000
USUAL = 0.00067  # s of processor time for a loop of so many turns, on the machine where limits were measured


def find_least(run: Callable[[], float], enough: float, tries: int = 40) -> float:
    """The least of several times, as soon as it is short enough: other work only adds to a time."""
    best = float("inf")
    for _ in range(tries):
        best = min(best, run())
        if best <= enough:
            break
    return best


def measure_slowness() -> float:
    """How many times longer than usual a loop in Python takes here, now; at least 1."""
    return max(1.0, find_least(time_loop, USUAL) / USUAL)


def time_loop() -> float:
    begun = time.process_time()
    sum(each * each for each in range(TURNS))
    return time.process_time() - begun
