"""The arithmetic of "must divide", said with numbers and with the nearest values that would do."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import NamedTuple

from parc.check.advice.nearest import Nearest, Number, divisors, multiples, nearest, of_shape, size, told
from parc.check.registry import Finding
from parc.diagnostic import Label
from parc.plan.blocks import Plan
from parc.source import Span


class Count(NamedTuple):
    """A number of the plan: 16 `heads`, where it says so, and the numbers that it is the product of."""

    number: int
    things: str
    span: Span
    factors: tuple[Number, ...] = ()


def division(plan: Plan, code: str, amount: Count, parts: Count) -> Iterator[Finding]:
    """A finding of the rule `code` where `amount` does not divide by `parts`."""
    if amount.number % parts.number == 0:
        return
    message = f"{amount.number:,} {amount.things} cannot be divided by {parts.number:,} {parts.things}"
    if plan.tried:
        yield Finding(message, ())
        return
    whole, rest = divmod(amount.number, parts.number)
    larger = [nearest(plan, code, each, multiples(each, parts.number)) for each in amount.factors]
    fewer = that_divide(plan, code, amount.number, parts)
    yield Finding(
        message,
        (
            Label(amount.span, f"{amount.number:,} {amount.things}"),
            Label(parts.span, f"{parts.number:,} {parts.things}", primary=False),
        ),
        (f"{amount.number:,} / {parts.number:,} = {whole:,}, remainder {rest:,}",),
        told("nearest that divide", (*larger, *fewer)),
        next((each.fix for each in fewer if each.fix), None) if len(fewer) == 1 else None,
    )


def that_divide(plan: Plan, code: str, amount: int, parts: Count) -> list[Nearest]:
    """Other values of each factor of `parts` with which the product divides `amount`."""
    found = []
    for each in parts.factors:
        others = prod(other.value for other in parts.factors if other is not each)
        if amount % others == 0:
            found.append(nearest(plan, code, each, divisors(each, amount // others)))
    return [each for each in found if each]


def of_model(plan: Plan, key: str, things: str | None = None) -> Count:
    """A number of the model's shape, which has it."""
    shape = plan.train.model.shape
    number = of_shape(plan, key, things or key)
    return Count(number.value, number.things, shape.at(key), (number,))


def ranks(plan: Plan, axes: tuple[str, ...], things: str) -> Count:
    """How many ranks the axes have together, at the place where the mesh says so."""
    names = [name for name in plan.mesh.names if name in axes]
    spans = [plan.spans[f"mesh.{name}"] for name in names if f"mesh.{name}" in plan.spans]
    span = spans[0].to(spans[-1]) if spans and spans[0].source is spans[-1].source else plan.at("mesh")
    named = " x ".join(f"`{name}`" for name in names)
    factors = tuple(size(plan, name) for name in names)
    return Count(plan.mesh.product(axes), f"{things} of {named}", span, factors)
