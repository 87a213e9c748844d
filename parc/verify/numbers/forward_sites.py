"""The sites of a stage's forward pass: each collective, and the end of each module, in order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from parc.ir.program import Call, Collective, Compute, Event, Operand, Repeat, Stage, Unit, Value


@dataclass(frozen=True)
class ForwardSite:
    """A move that a module makes; without a move, the end of the module, where it returns `values`."""

    path: str  # of the module, in the program and in the user's model
    unit: Unit
    move: Collective | None
    values: Sequence[Value | Operand] = ()


def iterate_sites(stage: Stage) -> Iterator[ForwardSite]:
    """All sites of a stage, in the order of the forward pass."""
    yield from _Sites(stage).of(stage.root, "", stage.root.results)


class _Sites:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units = {unit.name: unit for unit in stage.units}

    def of(self, unit: Unit, path: str, values: Sequence[Value | Operand]) -> Iterator[ForwardSite]:
        yield from self._events(unit, path, unit.events)
        yield ForwardSite(path, unit, None, values)

    def _events(
        self, unit: Unit, path: str, events: Sequence[Event], layer: int = 0
    ) -> Iterator[ForwardSite]:
        for event in events:
            if isinstance(event, Collective):
                yield ForwardSite(path, unit, event)
            elif isinstance(event, Compute):
                yield from (ForwardSite(path, unit, move) for move in event.inside)
            elif isinstance(event, Call):
                yield from self._call(event, path, layer)
            elif isinstance(event, Repeat):
                for number in range(event.start, event.start + event.count):
                    yield from self._events(unit, path, event.body, self.stage.first_layer + number)

    def _call(self, call: Call, path: str, layer: int) -> Iterator[ForwardSite]:
        """The results of an experts unit have the states of its call: the unit itself sees rows."""
        member = f"{self.stage.layers_path}.{layer}" if call.member == "layer" else call.member
        unit = self.units[call.unit]
        values = call.results if unit.experts else unit.results
        yield from self.of(unit, f"{path}.{member}" if path else member, values)
