"""Counts that must be divisible: the finding with its arithmetic, and the values that would suit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from parc.check.registry import Finding
from parc.check.requests import Candidates, NearestValues, Number
from parc.diagnostic import Label
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Plan
from parc.source import Span

HEADING = "nearest that divide"
FARTHEST = 10_000  # how far from a value others are looked for


class Count(NamedTuple):
    """A number of the plan with the place where it is written, and the numbers that it is the product of."""

    number: int
    things: str
    span: Span
    factors: tuple[Number, ...] = ()

    def __str__(self) -> str:
        return f"{self.number:,} {self.things}"

    def make_label(self, more: str = "", primary: bool = True) -> Label:
        return Label(self.span, f"{self}{more}", primary)


def check_division(amount: Count, parts: Count) -> Iterator[Finding]:
    """A finding where `amount` cannot be divided by `parts`."""
    whole, rest = divmod(amount.number, parts.number)
    if rest:
        divisors = list_divisors_of(amount.number, parts)
        multiples = (list_multiples(each, parts.number) for each in amount.factors)
        yield Finding(
            f"{amount} cannot be divided by {parts}",
            (amount.make_label(), parts.make_label(primary=False)),
            (f"{amount.number:,} / {parts.number:,} = {whole:,}, remainder {rest:,}",),
            advice=NearestValues(HEADING, (*multiples, *divisors)),
        )


def list_divisors_of(amount: int, parts: Count, fixable: bool = True) -> list[Candidates]:
    """Other values of each factor of `parts` with which the product divides `amount`."""
    found = []
    for each in parts.factors:
        others = prod(other.value for other in parts.factors if other is not each)
        if amount % others == 0:
            found.append(list_divisors(each, amount // others, fixable))
    return found


def count_in_shape(plan: Plan, key: str, things: str | None = None) -> Count:
    """A number of the model's shape, which has it."""
    shape = plan.train.model.shape
    number = Number("shape", key, things or key, getattr(shape, key))
    return Count(number.value, number.things, shape.at(key), (number,))


def count_in_batch(plan: Plan, key: str, things: str | None = None) -> Count:
    batch = plan.train.batch
    number = Number("batch", key, things or key, getattr(batch, key))
    return Count(number.value, number.things, batch.at(key), (number,))


def count_ranks(plan: Plan, axes: tuple[str, ...], things: str) -> Count:
    """How many ranks the axes have together, with the place of their sizes in the mesh."""
    names = [name for name in plan.mesh.names if name in axes]
    spans = [plan.spans[f"mesh.{name}"] for name in names if f"mesh.{name}" in plan.spans]
    span = spans[0].extend_to(spans[-1]) if spans and spans[0].source is spans[-1].source else plan.at("mesh")
    named = " x ".join(f"`{name}`" for name in names)
    factors = tuple(find_size(plan, name) for name in names)
    return Count(plan.mesh.product(axes), f"{things} of {named}", span, factors)


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
