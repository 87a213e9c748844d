"""The program that bugs are injected into: its parameters, its collectives, and mutants by edits of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from parc.emit.program import MODEL, Files
from parc.ir.collectives import Verb, Wire
from parc.ir.program import Call, Collective, Compute, Experts, Unit
from parc.ir.runtime_names import COLLECTIVES, FORWARD
from parc.ir.states import Kind, State
from parc.ir.walk import flatten
from parc.plan.blocks import Precision
from parc.plan.mesh import identify_group
from parc.plan.placement import list_shard_axes
from parc.plan.schema.plan import SPLIT, V_SHAPED
from parc.verify.mutants.stage_source import CallSite, StageSource
from parc.verify.sample.sample import Sample

CLASSES = re.compile(rf"{re.escape(MODEL)}|stage_(\d+)\.py")  # the files that define classes


@dataclass(frozen=True)
class Mutant:
    """One edit of an emitted program.

    `equivalent` is the reason why it computes what the program computes, on any data; None where it does not.
    `undetectable` is the reason why this sample cannot show the difference, though others can.
    """

    site: str
    files: Files  # the edited ones
    equivalent: str | None = None
    undetectable: str | None = None

    @property
    def run(self) -> bool:
        """Whether some rung should detect it here."""
        return not (self.equivalent or self.undetectable)


@dataclass(frozen=True)
class DeclaredParameter:
    """A parameter in the table of placements."""

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
        return self.find_keyword("experts") is not None or self.find_keyword("stack") is not None

    def find_keyword(self, name: str) -> ast.expr | None:
        """The value of a keyword argument."""
        return next((each.value for each in self.call.keywords if each.arg == name), None)


@dataclass(frozen=True)
class CollectiveSite:
    """A collective in a forward pass, as it is written and as it was planned."""

    file: str
    written: CallSite
    planned: Collective

    @property
    def operand(self) -> str:
        """The value that is converted, as text."""
        return ast.unparse(self.written.call.args[0])

    def format_call(self, verb: str, *, src: State | None, dst: State) -> str:
        """Another call for the same operand and group. Reductions have no `src`."""
        operand, group = map(ast.unparse, self.written.call.args)
        states = f"dst={dst}" if src is None else f"src={src}, dst={dst}"
        return f"{verb}({operand}, {group}, {states})"


class MutationTarget:
    """The program of a sample, its sites, and which bugs its run can show.

    `idle`: in the steps that are compared, some expert gets no token. `low`: the program is also run in
    a type that fuses the experts' products; `mixed`: there, masters are of another type; `sent`: there,
    gradients are sent in another type than they have; `low_types` are the types there.
    """

    def __init__(
        self,
        sample: Sample,
        *,
        idle: bool = True,
        low: bool = True,
        mixed: bool = True,
        sent: bool = True,
        low_types: Precision | None = None,
    ) -> None:
        self.sample, self.idle, self.low, self.mixed, self.sent = sample, idle, low, mixed, sent
        self.low_types = low_types
        self.plan = plan = sample.plan
        self.data = plan.list_axes("data")
        self.experts = plan.list_axes("experts")
        self.pipeline = plan.list_axes("pipeline")
        self.chunks = plan.pipeline.chunks if plan.pipeline else 1
        self.split = plan.pipeline is not None and plan.pipeline.schedule in SPLIT
        self.v_shaped = plan.pipeline is not None and plan.pipeline.schedule in V_SHAPED
        self.inner = tuple(axis for axis in plan.mesh.names if axis not in self.pipeline)  # of a stage
        # the reason why edits of sums over microbatches are equivalent, if it holds
        self.one_microbatch = "one microbatch" if plan.train.batch.microbatches == 1 else None

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """The groups of a stage that modules can communicate over: of each axis, and those over several."""
        folded = sorted({group for _, unit in self.units for group in unit.groups} - {*self.inner})
        return *self.inner, *folded

    @property
    def skips_idle_experts(self) -> bool:
        return self.plan.train.optimizer.idle_experts == "skip"

    def count_ranks(self, axis: str) -> int:
        """Of an axis, or of a group over several by its name."""
        return self.plan.mesh.sizes[axis]

    def list_slice_axes(self, parameter: DeclaredParameter) -> tuple[str, ...]:
        """The axes whose ranks share the update of a parameter, each of them a slice; outermost first."""
        shared = (axis for axis in list_shard_axes(self.plan) if axis in parameter.reduce)
        return tuple(axis for axis in shared if self.count_ranks(axis) > 1)

    def updates_repeat(self, parameter: DeclaredParameter, axis: str) -> bool:
        """Whether the ranks along an axis make the same update of a parameter."""
        return axis not in parameter.sharded and axis not in self.list_slice_axes(parameter)

    @cached_property
    def files(self) -> dict[str, StageSource]:
        """The files that define classes: of the model, and of the root of each distinct stage."""
        texts = self.sample.files.items()
        return {name: StageSource(text.decode()) for name, text in texts if CLASSES.fullmatch(name)}

    @cached_property
    def units(self) -> list[tuple[str, Unit]]:
        """The units of the program, each with the file that defines its class."""
        return [(file, unit) for file in self.files for unit in self._list_units(file)]

    @cached_property
    def parameters(self) -> list[DeclaredParameter]:
        found = []
        for file, source in self.files.items():
            for key, call, rule in source.find_placements():
                shape, *cuts = map(ast.literal_eval, call.args)
                sharded = cuts[0] if cuts else {}
                reduce = next((ast.literal_eval(k.value) for k in call.keywords if k.arg == "reduce"), None)
                if reduce is None:
                    reduce = tuple(axis for axis in rule if axis not in sharded)
                found.append(DeclaredParameter(file, key, call, shape, sharded, reduce))
        return found

    @cached_property
    def collectives(self) -> list[CollectiveSite]:
        """The collectives of tensors in forward passes.

        Those of scalars are left out: a balance loss is zero before the first layer that has one.
        """
        return [each for each in self._find_collectives() if each.planned.operand.shape]

    @cached_property
    def layer_sums(self) -> list[Collective]:
        """The sums that layers make of their own terms."""
        return [
            collective
            for _, unit in self.units
            for event in flatten(unit.events)
            if isinstance(event, Compute)
            for collective in event.inside
            if ast.unparse(collective.operand.expression.tree).startswith("self.")
        ]

    @cached_property
    def communication_sites(self) -> set[tuple[str, str, str]]:
        """(file, unit, axis) of all collectives, those of tensors and those that the runtime makes."""
        written = {(each.file, each.written.unit, each.planned.axis) for each in self.collectives}
        return written | {
            (file, unit.name, collective.axis)
            for file, unit in self.units
            for event in flatten(unit.events)
            if isinstance(event, Compute)
            for collective in event.inside
        }

    @cached_property
    def banks(self) -> list[Experts]:
        return [unit.experts for _, unit in self.units if unit.experts]

    @cached_property
    def choices(self) -> set[int]:
        """The numbers of experts that a token has, as far as the program states them."""
        banks = {unit.name for _, unit in self.units if unit.experts}
        calls = [event for _, unit in self.units for event in flatten(unit.events) if isinstance(event, Call)]
        shapes = [call.operands[1].shape for call in calls if call.unit in banks]
        return {size for shape in shapes for size in shape[-1:] if isinstance(size, int)}

    def list_issuing_axes(self, wire: Wire) -> tuple[str, ...]:
        """The axes over which the collectives of the runtime issue an operation, in either pass."""
        planned = self._list_planned()
        return tuple(sorted({each.axis for each in planned if wire in (each.forward, each.backward)}))

    def list_axes(self, verb: Verb, src: Kind, dst: Kind) -> tuple[str, ...]:
        """The axes with a collective of that kind that a gradient flows back through."""
        planned = [each for each in self._list_planned() if each.grad]
        wanted = (verb, src, dst)
        return tuple(sorted({p.axis for p in planned if (p.verb, p.src.kind, p.dst.kind) == wanted}))

    def find_axes(self, functions: Container[str], keyword: str | None = None) -> tuple[str, ...]:
        """The groups that calls of the runtime's functions are given, or given as a keyword."""
        calls = [site.call for source in self.files.values() for site in source.find_calls(functions)]
        keywords = [each.value for call in calls for each in call.keywords if each.arg == keyword]
        nodes = [node for given in (keywords if keyword else calls) for node in ast.walk(given)]
        texts = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
        return tuple(group for group in self.groups if f"self.{identify_group(group)}" in texts)

    def explain_single_rank(self, axes: Iterable[str]) -> str | None:
        """The reason why edits of what happens over `axes` are equivalent, if they have one rank."""
        named = tuple(axes)
        if any(self.count_ranks(axis) > 1 for axis in named):
            return None
        return f"one rank along {' and '.join(f'`{axis}`' for axis in named)}"

    def iterate_coordinates(self) -> Iterator[tuple[str, str, Sequence[str]]]:
        """(expression in train.py, description, axes) of a rank's place on each axis, and of its stage."""
        for axis in self.inner:
            yield f"topology.mesh.get_local_rank({axis!r})", f"along `{axis}`", [axis]
        if self.pipeline:
            yield "topology.stages[0]", "by the stage", self.pipeline

    def patch(
        self,
        file: str,
        old: str,
        new: str,
        site: str,
        *,
        over: Iterable[str] | None = None,
        equivalent: str | None = None,
        undetectable: str | None = None,
    ) -> Mutant:
        """A mutant by a piece of text that occurs once in a file. `over`: axes that the edit is about."""
        text = self.sample.files[file].decode()
        if text.count(old) != 1:
            raise LookupError(f"{file} has {text.count(old)} times instead of once: {old!r}")
        same = equivalent or (None if over is None else self.explain_single_rank(over))
        changed = text.replace(old, new).encode()
        return Mutant(f"{file}: {site}", {file: changed}, same, None if same else undetectable)

    def reduce_over(
        self, parameter: DeclaredParameter, axes: tuple[str, ...], site: str, over: Iterable[str]
    ) -> Mutant:
        """A mutant by other axes over which the gradient of a parameter is summed."""
        node = parameter.find_keyword("reduce")
        text = repr(axes) if node else f"{ast.unparse(parameter.call)[:-1]}, reduce={axes!r})"
        return self.edit(parameter.file, node or parameter.call, text, site, over)

    def edit(self, file: str, node: ast.expr, text: str, site: str, over: Iterable[str]) -> Mutant:
        """A mutant by one expression of a file."""
        return Mutant(site, {file: self.files[file].replace(node, text)}, self.explain_single_rank(over))

    def replace_collective(self, at: CollectiveSite, text: str, equivalent: str | None = None) -> Mutant:
        """A mutant by another expression in the place of a collective."""
        names = (node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
        used = sorted({name for name in names if name in FORWARD["collectives"]})
        imports = f"from runtime.collectives import {', '.join(used)}" if used else ""
        changed = self.files[at.file].replace(at.written.call, text, imports)
        site = f"{at.file}, {at.written.unit}: `{text}` for `{ast.unparse(at.written.call)}`"
        return Mutant(site, {at.file: changed}, self.explain_single_rank([at.planned.axis]) or equivalent)

    def _list_units(self, file: str) -> Sequence[Unit]:
        stages = self.sample.program.stages
        if file == MODEL:
            return list({unit.name: unit for stage in stages for unit in stage.units}.values())
        number = CLASSES.fullmatch(file)
        return [stages[int(number[1])].root] if number else []

    def _list_planned(self) -> list[Collective]:
        return [*(site.planned for site in self._find_collectives()), *self.layer_sums]

    def _find_collectives(self) -> Iterator[CollectiveSite]:
        for file, unit in self.units:
            written = [site for site in self.files[file].find_calls(COLLECTIVES) if site.unit == unit.name]
            planned = [event for event in flatten(unit.events) if isinstance(event, Collective)]
            if [ast.unparse(site.call.func) for site in written] == [each.verb for each in planned]:
                yield from map(CollectiveSite, [file] * len(written), written, planned)
