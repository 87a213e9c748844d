"""A figure: a value with its unit, its derivation, and a grade of how far it can be trusted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from parc.record import dataclass

Grade = Literal["exact", "expected", "calibrated", "estimated"]

GRADES: tuple[Grade, ...] = ("exact", "expected", "calibrated", "estimated")
"""Best first.

exact: arithmetic over what the plan declares. expected: a mean over what routing decides. calibrated: a model
fitted to measured runs on this kind of machine. estimated: any other model.
"""

DECIMAL_PREFIXES = ("", "k", "M", "G", "T", "P", "E")
TIME_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "us"), (1e-9, "ns"))


@dataclass(frozen=True, slots=True)
class Figure:
    """`unit` is one of B, B/s, FLOP, FLOP/s, s, and "" for counts and shares; `how` is the derivation."""

    name: str
    value: float
    unit: str
    how: str
    grade: Grade
    parts: tuple[Figure, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {format_quantity(self.value, self.unit)} ({self.grade}): {self.how}"


def add_figures(name: str, parts: Iterable[Figure]) -> Figure:
    """The sum of figures of one unit. Its grade is the worst of theirs.

    Raises:
        ValueError: there are no figures, or their units differ.
    """
    parts = tuple(parts)
    units = {part.unit for part in parts}
    if len(units) != 1:
        raise ValueError(f"{name}: cannot add {sorted(units)}")
    grade = max((part.grade for part in parts), key=GRADES.index)
    how = " + ".join(part.name for part in parts)
    return Figure(name, sum(part.value for part in parts), units.pop(), how, grade, parts)


def format_microbatches(number: int) -> str:
    """`1 microbatch`, `1,024 microbatches`."""
    return f"{number:,} microbatch" + ("es" if number != 1 else "")


def format_quantity(value: float, unit: str) -> str:
    """Three digits and a decimal prefix: `6.58G`, `16.2 GB`, `8.61 ms`."""
    if unit == "s":
        scale, unit = next((pair for pair in TIME_UNITS if abs(value) >= pair[0]), TIME_UNITS[-1])
        return f"{_format_digits(value / scale)} {unit}"
    power = 0
    while abs(value) >= 999.5 and power < len(DECIMAL_PREFIXES) - 1:
        value, power = value / 1000, power + 1
    return f"{_format_digits(value)}{' ' if unit else ''}{DECIMAL_PREFIXES[power]}{unit}"


def _format_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.3g}"
