"""The program that bugs are injected into, as those that inject them want to see it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from parc.emit.program import MODEL
from parc.ir.collectives import Verb, Wire
from parc.ir.program import Call, Collective, Compute, Event, Unit
from parc.ir.runtime_names import COLLECTIVES, FORWARD
from parc.ir.states import Kind, State
from parc.ir.walk import flatten
from parc.plan.blocks import Plan
from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.stage_source import Made, Source, patched
from parc.verify.sample.compile import Sample


@dataclass(frozen=True)
class Declared:
    """A parameter as the table of placements of a stage declares it."""

    file: str
    key: str
    call: ast.Call
    shape: tuple[int, ...]
    sharded: Mapping[str, int | tuple[int, int]]
    reduce: tuple[str, ...]

    @property
    def site(self) -> str:
        return f"{self.file}, {self.key}"

    @property
    def experts(self) -> bool:
        """Whether dim 0 counts experts."""
        return self.keyword("experts") is not None or self.keyword("stack") is not None

    def keyword(self, name: str) -> ast.expr | None:
        """The value of a keyword argument."""
        return next((each.value for each in self.call.keywords if each.arg == name), None)


@dataclass(frozen=True)
class Moved:
    """A collective in the forward pass of a stage, as it is written and as it was planned."""

    file: str
    made: Made
    move: Collective

    @property
    def operand(self) -> str:
        """The value that is converted, as text."""
        return ast.unparse(self.made.call.args[0])

    def call(self, verb: str, *, src: State | None = None, dst: State) -> str:
        """Another call for the same operand and group. Reductions have no `src`."""
        operand, group = map(ast.unparse, self.made.call.args)
        states = f"dst={dst}" if src is None else f"src={src}, dst={dst}"
        return f"{verb}({operand}, {group}, {states})"


class Subject:
    """A trial's program: its sites, and which of them are alive.

    `idle` tells whether, in the steps that are compared, some expert is given no token; `uneven` whether data
    ranks have unlike numbers of labels; `low` whether the program is also run in a type that fuses the
    experts' products.
    """

    def __init__(self, trial: Sample, *, idle: bool = True, uneven: bool = True, low: bool = True) -> None:
        self.trial, self.idle, self.uneven, self.low = trial, idle, uneven, low

    @property
    def plan(self) -> Plan:
        return self.trial.plan

    @property
    def microbatches(self) -> int:
        return self.plan.train.batch.microbatches

    def size(self, axis: str) -> int:
        return self.plan.mesh.axis(axis).size

    @cached_property
    def pipeline(self) -> tuple[str, ...]:
        return self.plan.pipeline.axes if self.plan.pipeline else ()

    @cached_property
    def inner(self) -> tuple[str, ...]:
        """The axes that a stage's ranks lie on."""
        return tuple(axis for axis in self.plan.mesh.names if axis not in self.pipeline)

    @cached_property
    def data(self) -> tuple[str, ...]:
        return self.plan.data.axes if self.plan.data else ()

    @cached_property
    def stages(self) -> dict[str, Source]:
        """The files that hold classes: of the model, and of the root of each distinct stage."""
        files = self.trial.files
        return {name: Source(files[name].decode()) for name in files if name == MODEL or _is_stage(name)}

    @cached_property
    def parameters(self) -> list[Declared]:
        return list(self._parameters())

    @cached_property
    def moves(self) -> list[Moved]:
        """Moves of tensors that the stages write out themselves.

        Those of scalars are left out: a balance loss is zero before the first layer that has one.
        """
        return [each for each in self._moves() if each.move.operand.shape]

    @cached_property
    def inside(self) -> set[tuple[str, str, str]]:
        """(file, unit, axis) of what the runtime moves for a unit."""
        return {
            (file, unit.name, move.axis)
            for file in self.stages
            for unit in self.units(file)
            for move in flat(unit.events)
            if move not in list(flat(unit.events, inside=False))
        }

    @cached_property
    def choices(self) -> set[int]:
        """How many experts a token has, where the program says so."""
        found = set()
        for file in self.stages:
            banks = {unit.name for unit in self.units(file) if unit.experts}
            for unit in self.units(file):
                for event in flatten(unit.events):
                    if isinstance(event, Call) and event.unit in banks:
                        _, indices, _ = event.operands
                        found |= {size for size in indices.shape[-1:] if isinstance(size, int)}
        return found

    def axes_that_issue(self, wire: Wire) -> tuple[str, ...]:
        """The axes over which the collectives of the stages issue an operation, in either pass."""
        found = {each.move.axis for each in self._moves() if wire in (each.move.forward, each.move.backward)}
        return tuple(sorted(found))

    def axes_of(self, verb: Verb, src: Kind, dst: Kind) -> tuple[str, ...]:
        """The axes over which the stages have a collective that a gradient flows back through."""
        moves = (each.move for each in self._moves() if each.move.grad)
        found = {move.axis for move in moves if (move.verb, move.src.kind, move.dst.kind) == (verb, src, dst)}
        return tuple(sorted(found))

    def units(self, file: str) -> Sequence[Unit]:
        """Those whose classes the file holds."""
        stages = self.trial.program.stages
        if file == MODEL:
            return list({unit.name: unit for stage in stages for unit in stage.units}.values())
        return [stages[int(file.removeprefix("stage_").removesuffix(".py"))].root]

    def said(self, pattern: str) -> tuple[str, ...]:
        """What the group of a pattern matches in the stages: the axes in calls of the runtime, say."""
        found = [match for source in self.stages.values() for match in re.findall(pattern, source.text)]
        return tuple(sorted(set(found)))

    def alone(self, axes: Iterable[str]) -> str | None:
        """Why nothing that happens over these axes matters, if it does not."""
        named = tuple(axes)
        if all(self.size(axis) == 1 for axis in named):
            return f"one rank along {' and '.join(f'`{axis}`' for axis in named)}"
        return None

    def patch(self, file: str, old: str, new: str, site: str, same: str | None = None) -> Mutant:
        """A mutant by text of a file, `old` being there once."""
        changed = patched(self.trial.files[file].decode(), old, new)
        return Mutant(f"{file}: {site}", {file: changed.encode()}, same)

    def edit(self, file: str, node: ast.expr, text: str, site: str, same: str | None = None) -> Mutant:
        """A mutant by one expression of a stage."""
        return Mutant(site, {file: self.stages[file].replaced(node, text)}, same)

    def move(self, moved: Moved, text: str, same: str | None = None) -> Mutant:
        """A mutant by another expression in the place of a collective."""
        names = (node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
        used = sorted({name for name in names if name in FORWARD["collectives"]})
        imports = f"from runtime.collectives import {', '.join(used)}" if used else ""
        changed = self.stages[moved.file].replaced(moved.made.call, text, imports)
        site = f"{moved.file}, {moved.made.unit}: `{text}` for `{moved.made.name}`"
        return Mutant(site, {moved.file: changed}, same)

    def _parameters(self) -> Iterator[Declared]:
        for file, source in self.stages.items():
            for key, call in source.placements():
                shape, *sharded = map(ast.literal_eval, call.args)
                reduce = next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "reduce"), ())
                yield Declared(file, key, call, shape, sharded[0] if sharded else {}, reduce)

    def _moves(self) -> Iterator[Moved]:
        for file, source in self.stages.items():
            calls = list(source.calls(COLLECTIVES))
            for unit in self.units(file):
                written = [made for made in calls if made.unit == unit.name]
                planned = list(flat(unit.events, inside=False))
                if [ast.unparse(made.call.func) for made in written] == [move.verb for move in planned]:
                    pairs = zip(written, planned, strict=True)
                    yield from (Moved(file, made, move) for made, move in pairs)


def _is_stage(file: str) -> bool:
    return file.startswith("stage_") and file.endswith(".py")


def flat(events: Iterable[Event], inside: bool = True) -> Iterator[Collective]:
    """The moves among events, those that the runtime makes for a computation too."""
    for event in flatten(events):
        if isinstance(event, Compute) and inside:
            yield from event.inside
        elif isinstance(event, Collective):
            yield event
