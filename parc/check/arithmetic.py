"""The arithmetic of "must divide", said with numbers and with the nearest values that would do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from parc.check.registry import Finding
from parc.diagnostic import Fix, Label
from parc.plan.facts import Plan
from parc.source import Span

FARTHEST = 10_000  # how far from a value others are looked for


class Count(NamedTuple):
    """A number of the plan: 16 `heads`, and where it says so."""

    number: int
    things: str
    span: Span


def near(value: int, good: int | None = None, *, multiples_of: int | None = None) -> list[int]:
    """The nearest values below and above `value` that divide `good`, or that are multiples of a number."""
    if multiples_of is not None:
        below = value // multiples_of * multiples_of
        return [each for each in (below, below + multiples_of) if each > 0]
    assert good is not None
    below = next((each for each in range(value - 1, max(value - FARTHEST, 0), -1) if good % each == 0), 0)
    above = next((each for each in range(value + 1, min(value + FARTHEST, good + 1)) if good % each == 0), 0)
    return [each for each in (below, above) if each]


def either(values: list[int]) -> str:
    return " or ".join(f"{value:,}" for value in values)


def division(amount: Count, parts: Count, fix: Fix | None = None) -> Iterator[Finding]:
    """A finding where `amount` does not divide by `parts`."""
    if amount.number % parts.number == 0:
        return
    whole, rest = divmod(amount.number, parts.number)
    cures = [
        f"{amount.things}: {either(near(amount.number, multiples_of=parts.number))}",
        f"{parts.things}: {either(near(parts.number, amount.number))}",
    ]
    yield Finding(
        f"{amount.number:,} {amount.things} cannot be divided by {parts.number:,} {parts.things}",
        (
            Label(amount.span, f"{amount.number:,} {amount.things}"),
            Label(parts.span, f"{parts.number:,} {parts.things}", primary=False),
        ),
        (f"{amount.number:,} / {parts.number:,} = {whole:,}, remainder {rest:,}",),
        "nearest that divide: " + "; ".join(cures),
        fix,
    )


def resized(plan: Plan, axes: tuple[str, ...], amount: int) -> Fix | None:
    """Make the only axis of `axes` one that divides `amount`, where just one of the nearest sizes fits."""
    if len(axes) != 1 or f"mesh.{axes[0]}" not in plan.spans:
        return None
    axis, span = plan.mesh.axis(axes[0]), plan.spans[f"mesh.{axes[0]}"]
    others = plan.mesh.size // axis.size
    sizes = [size for size in near(axis.size, amount) if size * others <= plan.cluster.devices and size > 1]
    return set_size(span, axis.name, sizes[0]) if len(sizes) == 1 else None


def set_size(span: Span, axis: str, size: int) -> Fix:
    return Fix(f"make the axis `{axis}: {size}`", ((span, f"{axis}: {size}"),), safe=False)


def ranks(plan: Plan, axes: tuple[str, ...], things: str) -> Count:
    """How many ranks the axes have together, at the place where the mesh says so."""
    spans = [
        plan.spans[f"mesh.{name}"]
        for name in plan.mesh.names
        if name in axes and f"mesh.{name}" in plan.spans
    ]
    span = spans[0].to(spans[-1]) if spans and spans[0].source is spans[-1].source else plan.at("mesh")
    named = " x ".join(f"`{name}`" for name in plan.mesh.names if name in axes)
    return Count(plan.mesh.product(axes), f"{things} of {named}", span)
