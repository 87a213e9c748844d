"""The sites of a stage's forward pass: each collective, and the end of each module, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from parc.ir.program import Call, Collective, Compute, Event, Operand, Repeat, Stage, Unit, Value


@dataclass(frozen=True, slots=True)
class ForwardSite:
    """A collective of a module; without one, the end of the module, where it returns `values`."""

    path: str  # of the module, in the program and in the user's model
    unit: Unit
    move: Collective | None
    values: Sequence[Value | Operand] = ()
    recomputed: str | None = None  # the path of the module around it that the backward pass repeats, if any
    resends: bool = False  # whether it issues `move` again then, whose result is kept else


def iterate_sites(stage: Stage) -> Iterator[ForwardSite]:
    """All sites of a stage. Those of a repeated layer come once for each repetition."""
    yield from Sites(stage).iterate(stage.root, "", stage.root.results)


class Sites:
    """The sites of parts of a stage."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units = {unit.name: unit for unit in stage.units}

    def iterate(
        self,
        unit: Unit,
        path: str,
        values: Sequence[Value | Operand],
        again: str | None = None,
        resends: bool = False,
    ) -> Iterator[ForwardSite]:
        yield from self.visit(unit, path, unit.events, 0, again, resends)
        yield ForwardSite(path, unit, None, values, again, resends)

    def visit(
        self,
        unit: Unit,
        path: str,
        events: Iterable[Event],
        layer: int,
        again: str | None = None,
        resends: bool = False,
    ) -> Iterator[ForwardSite]:
        """Of events of the unit at `path`, in the layer of this number."""
        for event in events:
            if isinstance(event, (Collective, Compute)):
                moves = [event] if isinstance(event, Collective) else event.inside
                yield from (ForwardSite(path, unit, move, (), again, resends) for move in moves)
            elif isinstance(event, Call):
                member = f"{self.stage.layers_path}.{layer}" if event.member == "layer" else event.member
                called = self.units[event.unit]
                # the results of experts have the states of their call: the unit itself sees rows
                values = event.results if called.experts else called.results
                at = f"{path}.{member}" if path else member
                within = again or (at if event.recomputed else None)
                yield from self.iterate(called, at, values, within, resends or event.resends)
            elif isinstance(event, Repeat):
                for number in range(event.start, event.start + event.count):
                    number += self.stage.first_layer
                    yield from self.visit(unit, path, event.body, number, again, resends)
