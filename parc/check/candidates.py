"""Numbers of a plan that a finding is about, and the values that would suit its rule instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from parc.named_tuple import NamedTuple
from parc.plan.blocks import Plan

FARTHEST = 10_000  # how far from a value others are looked for


class Number(NamedTuple):
    """A number of the plan, by the block and the key that it is written under."""

    block: Literal["mesh", "shape", "batch"]
    key: str
    things: str  # what it counts: ranks of `tp`
    value: int
    least: int = 1


class Candidates(NamedTuple):
    """Other values of a number: those of each range, the nearest first, that divide `dividend`.

    All numbers divide 0. `fixable`: the finding's fix is to write the value, where there is only one.
    """

    number: Number
    ranges: tuple[range, ...]
    dividend: int = 0
    fixable: bool = False


def find_size(plan: Plan, axis: str) -> Number:
    return Number("mesh", axis, f"ranks of `{axis}`", plan.mesh.axis(axis).size, least=2)


def list_divisors(number: Number, of: int, fixable: bool = False) -> Candidates:
    value = number.value
    below = range(value - 1, max(value - FARTHEST, number.least - 1), -1)
    above = range(max(value + 1, number.least), min(value + FARTHEST, of + 1))
    return Candidates(number, (below, above), of, fixable)


def list_multiples(number: Number, of: int) -> Candidates:
    below = (number.value - 1) // of * of
    above = number.value // of * of + of
    return Candidates(number, (range(below, number.least - 1, -of), range(above, above + FARTHEST * of, of)))


def join_values(values: Iterable[int]) -> str:
    return " or ".join(f"{value:,}" for value in values)
