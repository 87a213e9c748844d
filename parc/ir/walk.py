"""Walks over events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeAlias

from parc.ir.expression import Expression
from parc.ir.program import Accumulate, Call, Collective, Compute, Event, Operand, Recv, Repeat, Unit

Rewrite: TypeAlias = Callable[[Expression], Expression]


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
        yield from list_event_expressions(event)
    yield from (result.expression for result in unit.results)


def list_event_expressions(event: Event) -> Iterator[Expression]:
    """What an event, which is no loop, evaluates."""
    if isinstance(event, Compute | Accumulate):
        yield event.value
    elif isinstance(event, Collective):
        yield event.operand.expression
    elif isinstance(event, Call):
        yield from (operand.expression for operand in event.operands)


def list_bound_names(event: Event) -> set[str]:
    """The variables that an event, which is no loop, binds."""
    match event:
        case Compute(results=values) | Call(results=values) | Recv(values=values):
            return {value.name for value in values}
        case Collective(result=result):
            return {result.name}
    return set()


def rewrite_event(event: Event, rewrite: Rewrite) -> Event:
    """An event with other expressions in the place of those that it evaluates."""
    if isinstance(event, Compute | Accumulate):
        return replace(event, value=rewrite(event.value))
    if isinstance(event, Collective):
        return replace(event, operand=rewrite_operand(event.operand, rewrite))
    if isinstance(event, Call):
        return replace(event, operands=tuple(rewrite_operand(each, rewrite) for each in event.operands))
    if isinstance(event, Repeat):
        return replace(event, body=tuple(rewrite_event(each, rewrite) for each in event.body))
    return event


def rewrite_operand(operand: Operand, rewrite: Rewrite) -> Operand:
    """An operand with another expression."""
    return replace(operand, expression=rewrite(operand.expression))
