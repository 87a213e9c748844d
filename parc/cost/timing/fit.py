"""Fits constants to measured runs: searches for the least mean absolute log error.

The error is logarithmic, so that half and double weigh the same, and a slow run no more than a fast one. It
is absolute, so that a few runs that went wrong on the machine have little weight. The search is Nelder and
Mead's simplex, "A Simplex Method for Function Minimization", 1965, over the logarithms of the constants,
which so stay positive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, log
from typing import Protocol, TypeAlias

from parc.cost.timing.constants import Constants
from parc.record import replace

SHARES = ("matmul", "attention", "memory", "inner", "outer")
"""Constants that cannot exceed 1."""


class Run(Protocol):
    """A measurement that the model can predict."""

    @property
    def seconds(self) -> float: ...

    def predict(self, constants: Constants) -> float:
        """Seconds."""


def compute_loss(runs: Sequence[Run], constants: Constants) -> float:
    """Mean |log(predicted / measured)|."""
    return sum(abs(log(run.predict(constants) / run.seconds)) for run in runs) / len(runs)


Vertex: TypeAlias = tuple[float, list[float]]
"""A value of the function, and the point that has it."""


def minimize(
    function: Callable[[Sequence[float]], float], start: Sequence[float], step: float, rounds: int
) -> list[float]:
    """The best point that Nelder and Mead's simplex finds in `rounds` evaluations, starting with `step`."""

    def evaluate(point: list[float]) -> Vertex:
        return function(point), point

    def reflect(share: float, middle: list[float], worst: list[float]) -> Vertex:
        """The point beyond the middle as seen from the worst one, or between them if `share` is negative."""
        return evaluate([at + share * (at - old) for at, old in zip(middle, worst, strict=True)])

    count = len(start)
    moved = ([each + step * (at == index) for at, each in enumerate(start)] for index in range(count))
    simplex = sorted(evaluate(point) for point in (list(start), *moved))
    left = rounds
    while left > 0:
        middle = [sum(point[at] for _, point in simplex[:-1]) / count for at in range(count)]
        worst, last = simplex[-1]
        left -= 1
        best = reflect(1.0, middle, last)
        if best[0] < simplex[0][0]:
            best, left = min(best, reflect(2.0, middle, last)), left - 1
        elif best[0] >= simplex[-2][0]:
            best, left = reflect(0.5 if best[0] < worst else -0.5, middle, last), left - 1
        if best[0] < worst:
            simplex[-1] = best
        else:
            first = simplex[0][1]
            simplex = [
                evaluate([(a + b) / 2 for a, b in zip(first, point, strict=True)]) for _, point in simplex
            ]
            left -= count
        simplex.sort()
    return simplex[0][1]


def fit_constants(runs: Sequence[Run], start: Constants, free: Sequence[str], rounds: int = 800) -> Constants:
    """`start`, with the constants named in `free` changed to those that predict the runs best."""

    def read_constants(logarithms: Sequence[float]) -> Constants:
        found = {name: exp(each) for name, each in zip(free, logarithms, strict=True)}
        return replace(
            start, **{name: min(1.0, each) if name in SHARES else each for name, each in found.items()}
        )

    point = [log(getattr(start, name)) for name in free]
    for step in (0.3, 0.1):  # a second simplex around the end of the first one, which may have collapsed
        point = minimize(lambda each: compute_loss(runs, read_constants(each)), point, step, rounds // 2)
    return read_constants(point)
