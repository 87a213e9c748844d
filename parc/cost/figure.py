"""A number that can be believed as far as it says: value, unit, derivation, grade."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from parc.record import dataclass

Grade = Literal["exact", "expected", "calibrated", "estimated"]

GRADES: tuple[Grade, ...] = ("exact", "expected", "calibrated", "estimated")
"""Best first.

exact: arithmetic over what is declared. expected: a mean over what routing decides. calibrated: a model
fitted to measured runs on this kind of machine. estimated: any other model.
"""

DECIMAL = ("", "k", "M", "G", "T", "P", "E")
TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


@dataclass(frozen=True, slots=True)
class Figure:
    """`unit` is one of B, B/s, FLOP, FLOP/s, s, and "" for counts and shares; `how` is the arithmetic."""

    name: str
    value: float
    unit: str
    how: str
    grade: Grade
    parts: tuple[Figure, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {quantity(self.value, self.unit)} ({self.grade}): {self.how}"


def total(name: str, parts: Iterable[Figure]) -> Figure:
    """The sum of figures of one unit, graded as the worst of them.

    Raises:
        ValueError: there are none, or they differ in unit.
    """
    parts = tuple(parts)
    units = {part.unit for part in parts}
    if len(units) != 1:
        raise ValueError(f"{name}: cannot add {sorted(units)}")
    grade = max((part.grade for part in parts), key=GRADES.index)
    how = " + ".join(part.name for part in parts)
    return Figure(name, sum(part.value for part in parts), units.pop(), how, grade, parts)


def microbatches(number: int) -> str:
    return f"{number:,} microbatch" + ("es" if number != 1 else "")


def quantity(value: float, unit: str) -> str:
    """Three digits and a decimal prefix: `6.58G`, `16.2 GB`, `8.61 ms`."""
    if unit == "s":
        scale, unit = next((pair for pair in TIMES if abs(value) >= pair[0]), TIMES[-1])
        return f"{_digits(value / scale)} {unit}"
    power = 0
    while abs(value) >= 999.5 and power < len(DECIMAL) - 1:
        value, power = value / 1000, power + 1
    return f"{_digits(value)}{' ' if unit else ''}{DECIMAL[power]}{unit}"


def _digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"
