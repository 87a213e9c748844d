"""What a compiled program holds and sends: folds over its events, exact where the shape alone is not.

A shape says nothing of biases, of learned positions, of what else a model adds; the events say it all. Sizes
that routing decides are means over the ranks of a group: what one sends more, another sends less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import NamedTuple

from parc.ir.program import Call, Collective, Compute, Event, Program, Repeat, Stage, Unit, Value
from parc.plan.blocks import Plan
from parc.trace.derive import derive
from parc.trace.ops import Op
from parc.trace.parameters import elements, parameters

BYTES = {"bool": 1, "bfloat16": 2, "float16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8}
MOMENTS = 2  # of AdamW, each as large as the parameter
COUNTER = 4  # bytes of AdamW's own count of steps, a tensor


class Held(NamedTuple):
    """Bytes of one rank's shards, between two steps; gradients are there from backward pass to update."""

    parameters: int
    gradients: int
    optimizer: int


class Sent(NamedTuple):
    """Operations of one kind, of one rank and step. `bytes` of one call are of the whole buffer, as in
    `network.py`; `routed`: a mean over what routing decides."""

    where: str
    kind: str  # a collective, or "send"
    axis: str
    bytes: int
    calls: int
    routed: bool

    @property
    def total(self) -> int:
        return self.bytes * self.calls


def held(plan: Plan, stage: Stage) -> Held:
    """Of each rank of a stage."""
    sizes = {axis.name: axis.size for axis in plan.mesh.axes}
    own = list(parameters(stage))
    bytes = sum(elements(each, sizes) * _element(each.dtype) for each in own)
    return Held(bytes, bytes, MOMENTS * bytes + COUNTER * len(own))


def sent(plan: Plan, program: Program) -> tuple[tuple[Sent, ...], ...]:
    """By stage: what each of its ranks gives to collectives and sends, in one step after the first."""
    sizes = {axis.name: axis.size for axis in plan.mesh.axes}
    stages = []
    for named, numbered in zip(derive(plan, program), derive(plan, expected(program)), strict=True):
        calls: Counter[tuple[str, str, str, int, bool]] = Counter()
        for issue, number in zip(named.issues, numbered.issues, strict=True):
            op, routed = issue.op, any(isinstance(size, str) for size in issue.op.shape)
            if op.kind != "recv":
                calls[op.where, op.kind, op.axis, whole(number.op, sizes), routed] += 1
        stages.append(tuple(Sent(*key[:4], count, key[4]) for key, count in calls.items()))
    return tuple(stages)


def expected(program: Program) -> Program:
    """The same, with as many rows at each expert layer as its ranks have in the mean."""
    return replace(program, stages=tuple(map(_expected_stage, program.stages)))


def _expected_stage(stage: Stage) -> Stage:
    units = {unit.name: unit for unit in stage.units}
    counted: dict[str, Unit] = {}

    def numbered(unit: Unit) -> Unit:
        values = {value.name: value for value in _values(unit)}
        return replace(unit, events=tuple(_numbered(unit.events, values, units, counted)))

    return replace(stage, root=numbered(stage.root), units=(*map(numbered, stage.units), *counted.values()))


def _numbered(
    events: tuple[Event, ...],
    values: Mapping[str, Value],
    units: Mapping[str, Unit],
    counted: dict[str, Unit],
) -> Iterator[Event]:
    """Events whose calls of experts are of units with numbers for sizes, which go to `counted`."""
    for event in events:
        if isinstance(event, Repeat):
            yield replace(event, body=tuple(_numbered(event.body, values, units, counted)))
        elif isinstance(event, Call) and units[event.unit].experts is not None:
            _, indices, _ = event.operands
            rows = prod(int(size) for size in values[indices].shape)
            name = f"{event.unit}, {rows} rows"
            counted[name] = _with_rows(units[event.unit], name, rows)
            yield replace(event, unit=name)
        else:
            yield event


def _with_rows(unit: Unit, name: str, rows: int) -> Unit:
    """Every rank of a group has as many tokens as any other, so that the mean of what comes is what goes."""

    def real(value: Value) -> Value:
        return replace(value, shape=tuple(rows if size == "rows" else size for size in value.shape))

    def moved(move: Collective) -> Collective:
        return replace(move, operand=real(move.operand), result=real(move.result))

    events = (
        replace(event, inside=tuple(map(moved, event.inside))) if isinstance(event, Compute) else event
        for event in unit.events
    )
    return replace(unit, name=name, events=tuple(events))


def _values(unit: Unit) -> Iterator[Value]:
    yield from unit.inputs
    events = list(unit.events)
    while events:
        event = events.pop(0)
        if isinstance(event, (Compute, Call)):
            yield from event.results
        elif isinstance(event, Collective):
            yield event.result
        elif isinstance(event, Repeat):
            events += event.body


def whole(op: Op, sizes: Mapping[str, int]) -> int:
    """Bytes of the whole buffer: where an operation names one rank's share, all shares.

    Raises:
        ValueError: a size of it is a symbol.
    """
    shares = sizes[op.axis] if op.kind in ("all_gather", "reduce_scatter") else 1
    return prod(int(size) for size in op.shape) * _element(op.dtype) * shares


def _element(dtype: str) -> int:
    return BYTES[dtype.removeprefix("torch.")]
