"""The modules and moves of a stage's forward pass, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parc.ir.program import Call, Collective, Compute, Event, Repeat, Stage, Unit, Value


@dataclass(frozen=True)
class Place:
    """A move that a module makes; or, without one, the module's end, where it gives `values`."""

    path: str  # of the module: the same in the program and in the user's model
    unit: Unit
    move: Collective | None
    values: tuple[Value, ...] = ()


def places(stage: Stage) -> Iterator[Place]:
    """All moves of a stage and the ends of all its modules, in the order of the forward pass."""
    yield from _Places(stage).of(stage.root, "", stage.root.results)


class _Places:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units = {unit.name: unit for unit in stage.units}

    def of(self, unit: Unit, path: str, values: tuple[Value, ...]) -> Iterator[Place]:
        yield from self._events(unit, path, unit.events)
        yield Place(path, unit, None, values)

    def _events(self, unit: Unit, path: str, events: Sequence[Event], layer: int = 0) -> Iterator[Place]:
        for event in events:
            if isinstance(event, Collective):
                yield Place(path, unit, event)
            elif isinstance(event, Compute):
                yield from (Place(path, unit, move) for move in event.inside)
            elif isinstance(event, Call):
                yield from self._call(event, path, layer)
            elif isinstance(event, Repeat):
                for number in range(event.start, event.start + event.count):
                    yield from self._events(unit, path, event.body, self.stage.first_layer + number)

    def _call(self, call: Call, path: str, layer: int) -> Iterator[Place]:
        """What an expert's unit gives lies as its caller says: the unit itself sees rows alone."""
        member = f"{self.stage.layers_path}.{layer}" if call.member == "layer" else call.member
        unit = self.units[call.unit]
        values = call.results if unit.experts else unit.results
        yield from self.of(unit, f"{path}.{member}" if path else member, values)
