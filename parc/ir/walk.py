"""Walks over events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.ir.expression import Expression
from parc.ir.program import Accumulate, Call, Collective, Compute, Event, Repeat, Unit


def flatten(events: Iterable[Event]) -> Iterator[Event]:
    """Events, and those of loops in the place of the loops, each once."""
    for event in events:
        if isinstance(event, Repeat):
            yield from flatten(event.body)
        else:
            yield event


def list_expressions(unit: Unit) -> Iterator[Expression]:
    """What a unit's forward pass evaluates."""
    for event in flatten(unit.events):
        if isinstance(event, Compute | Accumulate):
            yield event.value
        elif isinstance(event, Collective):
            yield event.operand.expression
        elif isinstance(event, Call):
            yield from (operand.expression for operand in event.operands)
    yield from (result.expression for result in unit.results)
