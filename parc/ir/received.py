"""Which collectives of a stage are between what it receives and what it gives.

A backward pass that is split runs those with the gradients of inputs, and the others with those of weights.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence

from parc.ir.expression import Expression, list_names
from parc.ir.program import Call, Collective, Compute, Event, Recv, Repeat, Stage, Unit, Value

FLOATS = ("torch.float", "torch.bfloat")


def find_collectives_of_received(stage: Stage) -> list[bool]:
    """Whether each collective of the forward pass reads what the stage receives, in the order of its sites.

    Integers that are received have no gradient, and do not count.
    """
    return list(_Follower(stage).follow_root())


class _Follower:
    """Follows received values through the forward pass of a stage."""

    def __init__(self, stage: Stage) -> None:
        self.root = stage.root
        self.units = {unit.name: unit for unit in stage.units}

    def follow_root(self) -> Iterator[bool]:
        yield from self._follow(self.root.events, set())

    def _follow(self, events: Iterable[Event], known: set[str]) -> Iterator[bool]:
        """`known` are the variables that depend on received values; those that do are added."""
        for event in events:
            match event:
                case Recv():
                    known |= {value.name for value in event.values if value.dtype.startswith(FLOATS)}
                case Repeat():
                    for _ in range(event.count):
                        yield from self._follow(event.body, known)
                case Compute():
                    depends = _reads(event.value, known)
                    yield from (depends for _ in event.inside)
                    _bind(event.results, [depends] * len(event.results), known)
                case Collective():
                    depends = _reads(event.operand.expression, known)
                    yield depends
                    _bind([event.result], [depends], known)
                case Call():
                    given = [_reads(operand.expression, known) for operand in event.operands]
                    results = yield from self._call(self.units[event.unit], given)
                    _bind(event.results, results, known)

    def _call(self, unit: Unit, given: Sequence[bool]) -> Generator[bool, None, list[bool]]:
        """Follows the values of a member that is given values of which some depend; which results do."""
        known = {value.name for value, depends in zip(unit.inputs, given, strict=True) if depends}
        yield from self._follow(unit.events, known)
        return [_reads(result.expression, known) for result in unit.results]


def _reads(expression: Expression, known: set[str]) -> bool:
    return not known.isdisjoint(list_names([expression.tree]))


def _bind(values: Sequence[Value], depends: Sequence[bool], known: set[str]) -> None:
    for value, each in zip(values, depends, strict=True):
        (known.add if each else known.discard)(value.name)
