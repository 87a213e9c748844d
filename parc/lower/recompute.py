"""Recomputation: which calls of modules the backward pass repeats, instead of keeping their activations."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import replace

from parc.capture.preconditions import Illegal
from parc.ir.program import Accumulate, Call, Event, Program, Repeat, Stage, Unit
from parc.ir.walk import flatten, list_expressions

ATTENTION, SOFTMAX = "scaled_dot_product_attention", "softmax"
"""Functions that attention computes its scores with. A router has a softmax as well."""


def mark_recomputed(program: Program, kind: str, resends: bool) -> Program:
    """The program with the calls marked that `kind` of a plan's `recompute` repeats.

    With `resends`, the second pass issues collectives again, instead of their results being kept.

    Raises Illegal where the code of a layer has attention or experts outside of a module of their own.
    """
    if kind == "none":
        return program
    return replace(program, stages=tuple(_Marker(stage, kind, resends).mark() for stage in program.stages))


class _Marker:
    """Marks the calls of one stage."""

    def __init__(self, stage: Stage, kind: str, resends: bool) -> None:
        self.stage, self.kind = stage, kind
        self.resends = resends
        self.units: Mapping[str, Unit] = {unit.name: unit for unit in stage.units}
        self.marked: dict[str, Unit] = {}  # units with calls that are repeated, by name
        self.repeated: set[str] = set()  # units of which all is repeated

    def mark(self) -> Stage:
        root = self.stage.root
        for layer in dict.fromkeys(self.stage.layers):
            if self.kind == "layer":
                self._repeat(layer)
            else:
                self._mark_parts(layer)
        if self.kind == "layer":
            root = replace(root, events=tuple(_mark_calls(root.events, {*self.stage.layers}, self.resends)))
        units = (self.marked.get(unit.name, unit) for unit in self.stage.units)
        return replace(self.stage, root=root, units=tuple(map(self._count_once, units)))

    def _mark_parts(self, name: str) -> None:
        """Marks the calls of attention, or of what has the experts, in a unit and below it."""
        unit = self.units[name]
        if name in self.marked:
            return
        called = {event.unit for event in flatten(unit.events) if isinstance(event, Call)}
        parts = {each for each in called if self._is_part(self.units[each])}
        self.marked[name] = replace(unit, events=tuple(_mark_calls(unit.events, parts, self.resends)))
        for part in parts:
            self._repeat(part)
        for other in called - parts:
            self._mark_parts(other)
        if self._has_part_in_line(unit):
            raise Illegal(f"`recompute = {self.kind}` repeats a module: `{unit.path}` has it in its own code")

    def _is_part(self, unit: Unit) -> bool:
        below = list(self._list_below(unit))
        experts = any(each.experts for each in below)
        return experts if self.kind == "experts" else not experts and any(map(self._attends, below))

    def _has_part_in_line(self, unit: Unit) -> bool:
        return unit.experts is not None if self.kind == "experts" else self._attends(unit)

    def _attends(self, unit: Unit) -> bool:
        """Whether the unit's own code is attention."""
        trees = [expression.tree for expression in list_expressions(unit)]
        calls = (node.func for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
        called = {each.attr for each in calls if isinstance(each, ast.Attribute)}
        routes = any(result.dtype == "torch.int64" for result in unit.results)
        routes |= any(each.experts for each in self._list_below(unit))
        return ATTENTION in called or (SOFTMAX in called and not routes)

    def _repeat(self, name: str) -> None:
        self.repeated.update(each.name for each in self._list_below(self.units[name]))

    def _list_below(self, unit: Unit) -> Iterator[Unit]:
        """A unit and all that it calls."""
        yield unit
        for member in dict.fromkeys(unit.members.values()):
            yield from self._list_below(self.units[member])

    def _count_once(self, unit: Unit) -> Unit:
        """The unit with additions to buffers that a second pass leaves out."""
        if unit.name not in self.repeated:
            return unit
        events = (replace(e, recomputed=True) if isinstance(e, Accumulate) else e for e in unit.events)
        return replace(unit, events=tuple(events))


def _mark_calls(events: tuple[Event, ...], units: set[str], resends: bool) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Repeat):
            yield replace(event, body=tuple(_mark_calls(event.body, units, resends)))
        elif isinstance(event, Call) and event.unit in units:
            yield replace(event, recomputed=True, resends=resends)
        else:
            yield event
