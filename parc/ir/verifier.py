"""Whether a program is consistent: a check of the compiler's own work, made before anything is emitted.

Every variable is bound before it is read, every member is there and is called with what its unit takes,
every collective exists and starts from the state that its operand has, and what a stage sends is what the
next one receives.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from parc.diagnostic import CompileError, Label, error
from parc.ir.collectives import ISSUED
from parc.ir.dump import format_type, format_value
from parc.ir.expression import Expression, list_names
from parc.ir.program import (
    Accumulate,
    Call,
    Collective,
    Compute,
    Event,
    Let,
    Operand,
    Program,
    Recv,
    Repeat,
    Send,
    Shape,
    Stage,
    Unit,
    Value,
)
from parc.ir.runtime_names import DECLARATIONS, FORWARD, STATES, TOKEN_COUNTS
from parc.ir.states import Kind, State
from parc.plan.blocks import Plan
from parc.plan.mesh import identify_group

_GLOBALS = frozenset({"self", "torch", "F", "float"}).union(*FORWARD.values())
_IN_CONSTRUCTORS = frozenset({"torch", "nn", "float", "device", *STATES}).union(*DECLARATIONS.values())


def verify_program(plan: Plan, program: Program) -> None:
    """Raise CompileError where the compiler has made an inconsistent program: that is a fault of its own."""
    faults = tuple(find_inconsistencies(program, plan.mesh.sizes))
    if faults:
        message = f"parc has made an inconsistent program: {faults[0]}"
        help = "this is a fault of parc: report it with the plan and the model"
        label = Label(plan.span, "compiled from here")
        raise CompileError(error("P512", message, label, notes=faults[1:], help=help))


def find_inconsistencies(program: Program, sizes: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with a program on a mesh of these sizes, a sentence each; nothing where all is well."""
    for number, stage in enumerate(program.stages):
        for fault in _check_stage(stage, sizes):
            yield f"stage {number}, {fault}"
    for number, (stage, following) in enumerate(zip(program.stages, program.stages[1:], strict=False)):
        yield from _check_crossing(number, stage, following)


def _check_stage(stage: Stage, sizes: Mapping[str, int]) -> Iterator[str]:
    known: dict[str, Unit] = {}
    for unit in (*stage.units, stage.root):
        layers = stage.layers if unit is stage.root else ()
        for fault in _Checker(unit, known, layers, sizes).check():
            yield f"unit `{unit.name}`: {fault}"
        known[unit.name] = unit
    yield from (f"there is no unit `{name}`" for name in sorted({*stage.layers} - known.keys()))


def _check_crossing(number: int, stage: Stage, following: Stage) -> Iterator[str]:
    sent = stage.gives
    received = [value for event in following.root.events if isinstance(event, Recv) for value in event.values]
    if [(v.name, v.shape, v.dtype) for v in sent] != [(v.name, v.shape, v.dtype) for v in received]:
        yield (
            f"stage {number} sends ({', '.join(map(format_value, sent))}) and "
            f"stage {number + 1} receives ({', '.join(map(format_value, received))})"
        )


@dataclass
class _Checker:
    """Follows the forward pass of one unit."""

    unit: Unit
    units: Mapping[str, Unit]  # callees come first
    layers: Sequence[str]
    sizes: Mapping[str, int]
    bound: dict[str, Value] = field(default_factory=dict)

    def check(self) -> Iterator[str]:
        for path, name in self.unit.members.items():
            if name not in self.units:
                yield f"the member `{path}` is of a unit `{name}` that is not there before"
        yield from self._check_buffers()
        for path, constructor in self.unit.layers.items():
            yield from self._check_expression(constructor, _IN_CONSTRUCTORS)
            if not any(parameter.path.startswith(f"{path}.") for parameter in self.unit.parameters):
                yield f"the layer `{path}` has no parameters"
        self.bound |= {value.name: value for value in self.unit.inputs}
        yield from self._check_events(self.unit.events)
        yield from (
            fault for result in self.unit.results for fault in self._check_operand(result, "the result")
        )

    def _check_buffers(self) -> Iterator[str]:
        variables: set[str] = set(_IN_CONSTRUCTORS)
        for buffer in self.unit.buffers:
            for statement in buffer.statements:
                yield from _find_unbound(statement.value, variables)
                if isinstance(statement, Let):
                    variables.add(statement.name)
            yield from _find_unbound(buffer.value, variables)

    def _check_events(self, events: Sequence[Event]) -> Iterator[str]:
        for event in events:
            match event:
                case Compute():
                    yield from self._check_expression(event.value)
                    yield from (fault for each in event.inside for fault in self._check_legality(each))
                    self._bind(event.results)
                case Accumulate():
                    yield from self._check_expression(event.value)
                    if not self._has(event.buffer):
                        yield f"adds to `{event.buffer}`, which is not there"
                case Collective():
                    yield from self._check_collective(event)
                    self._bind([event.result])
                case Call():
                    yield from self._check_call(event, self.unit.members.get(event.member))
                    self._bind(event.results)
                case Repeat():
                    yield from self._check_repeat(event)
                case Send():
                    yield from self._check_sent(event)
                case Recv():
                    self._bind(event.values)

    def _bind(self, values: Sequence[Value]) -> None:
        self.bound |= {value.name: value for value in values if value.name != "_"}

    def _check_expression(self, expression: Expression, known: Collection[str] = ()) -> Iterator[str]:
        """`known` are variables besides those of the forward pass."""
        yield from _find_unbound(expression, self.bound.keys() | _GLOBALS | {*known})
        for path in _list_attribute_paths(expression.tree):
            if not self._has(path):
                yield f"`{expression}` reads `self.{path}`, which is not there"

    def _has(self, path: str) -> bool:
        """Whether an attribute path below `self` is that of something the unit holds, or begins with one."""
        held = {*self.unit.numbers, *map(identify_group, self.unit.groups), *self.unit.layers}
        held |= {parameter.path for parameter in self.unit.parameters}
        held |= {buffer.path for buffer in self.unit.buffers}
        held |= {TOKEN_COUNTS} if self.unit.experts else set()
        return any(path == each or path.startswith(f"{each}.") for each in held)

    def _check_operand(self, operand: Operand, of: str) -> Iterator[str]:
        yield from self._check_expression(operand.expression)
        if isinstance(operand.expression.tree, ast.Name):
            bound = self.bound.get(operand.expression.tree.id)
            if bound is not None and _get_type(bound) != _get_type(operand):
                yield f"{of} is {_describe(operand)}, but its variable is {_describe(bound)}"

    def _check_call(self, call: Call, expected: str | None) -> Iterator[str]:
        if expected is None:
            yield f"calls `{call.member}`, which is no member"
        elif call.unit != expected:
            yield f"calls `{call.member}` as `{call.unit}`, but it is `{expected}`"
        callee = self.units.get(call.unit)
        for operand in call.operands:
            yield from self._check_operand(operand, f"an operand of `{call.member}`")
        if callee is not None:
            yield from _compare_signatures(call, "operands", call.operands, callee.inputs)
            yield from _compare_signatures(call, "results", call.results, callee.results)

    def _check_repeat(self, repeat: Repeat) -> Iterator[str]:
        of = {*self.layers[repeat.start : repeat.start + repeat.count]}
        if repeat.start + repeat.count > len(self.layers) or len(of) != 1 or repeat.total != len(self.layers):
            yield f"repeats layers {repeat.start} to {repeat.start + repeat.count - 1} of {len(self.layers)}"
        for event in repeat.body:
            if isinstance(event, Call) and event.member == "layer":
                yield from self._check_call(event, next(iter(of), None))
                self._bind(event.results)
            else:
                yield from self._check_events([event])

    def _check_sent(self, send: Send) -> Iterator[str]:
        for value in send.values:
            if self.bound.get(value.name) != value:
                yield f"sends {format_value(value)}, which is not bound"

    def _check_collective(self, event: Collective) -> Iterator[str]:
        yield from self._check_legality(event)
        yield from self._check_operand(event.operand, f"the operand of {event.verb}")
        what = f"{event.verb} of `{event.operand.expression}` over `{event.axis}`"
        if event.operand.dtype != event.result.dtype:
            yield f"{what} changes {event.operand.dtype} to {event.result.dtype}"
        if self.unit.experts is None:  # whose rows have no states
            yield from self._check_states(event, what)
        expected = _convert_shape(event.operand.shape, event.src, event.dst, self.sizes[event.axis])
        if expected != event.result.shape:
            types = f"{_describe(event.result)} of {_describe(event.operand)}"
            yield f"{what}, {event.src} -> {event.dst}, gives {types}"

    def _check_states(self, event: Collective, what: str) -> Iterator[str]:
        before, after = ({**each.states} for each in (event.operand, event.result))
        for state, states, place in ((event.src, before, "an operand"), (event.dst, after, "a result")):
            held = states.pop(event.axis, None)
            if not _is_alike(state, held, event.grad):
                yield f"{what}, {event.src} -> {event.dst}, has {place} that is {held or 'I'}"
        if before != after:
            yield f"{what} changes the state on another axis"

    def _check_legality(self, event: Collective) -> Iterator[str]:
        if (event.verb, event.src.kind, event.dst.kind) not in ISSUED:
            yield f"there is no {event.verb} from {event.src} to {event.dst}"
        if event.axis not in self.unit.groups:
            yield f"{event.verb} over `{event.axis}`, whose group it does not hold"


def _compare_signatures(
    call: Call, what: str, given: Sequence[Value | Operand], declared: Sequence[Value | Operand]
) -> Iterator[str]:
    """What a call passes or binds, against what its unit takes or gives."""
    if len(given) != len(declared):
        yield f"calls `{call.member}` with {len(given)} {what}, but `{call.unit}` has {len(declared)}"
        return
    symbols: dict[str, int | str] = {}
    for mine, its in zip(given, declared, strict=True):
        unread = isinstance(mine, Value) and mine.name == "_"
        if not unread and (mine.dtype != its.dtype or not _matches(mine.shape, its.shape, symbols)):
            yield f"calls `{call.member}`: {what} have {_describe(mine)}, `{call.unit}` has {_describe(its)}"


def _find_unbound(expression: Expression, known: Collection[str]) -> Iterator[str]:
    for name in sorted(list_names([expression.tree]) - {*known}):
        yield f"`{expression}` reads `{name}`, which is not bound before"


def _list_attribute_paths(tree: ast.expr) -> Iterator[str]:
    """The attribute paths below `self` that an expression reads, each in full."""

    def path_of(node: ast.AST) -> str | None:
        match node:
            case ast.Attribute(value=ast.Name(id="self"), attr=attr):
                return attr
            case ast.Attribute(value=owner, attr=last):
                path = path_of(owner)
            case ast.Subscript(value=owner, slice=ast.Constant(value=str(last))):
                path = path_of(owner)
            case _:
                return None
        return path and f"{path}.{last}"

    def visit(node: ast.AST) -> Iterator[str]:
        path = path_of(node)
        if path:
            yield path
        else:
            for child in ast.iter_child_nodes(node):
                yield from visit(child)

    return visit(tree)


def _matches(shape: Shape, declared: Shape, symbols: dict[str, int | str]) -> bool:
    """Whether a shape is the declared one, whose symbols stand for one size each."""
    if len(shape) != len(declared):
        return False
    return all(
        (symbols.setdefault(size, mine) if isinstance(size, str) else size) == mine
        for mine, size in zip(shape, declared, strict=True)
    )


def _convert_shape(shape: Shape, src: State, dst: State, ranks: int) -> Shape:
    """The shape of a value after a collective."""
    sizes = list(shape)
    for state, factor in ((src, float(ranks)), (dst, 1 / ranks)):
        size = sizes[state.dim] if state.sharded else None
        if isinstance(size, int):
            sizes[state.dim] = round(size * factor)
    return tuple(sizes)


def _is_alike(state: State, held: State | None, grad: bool) -> bool:
    """Whether a value that is `held` may be said to be in a state: blocks are those of a rank's own share.

    Invariant and replicate differ in the gradient alone.
    """
    if held is None:
        return state.kind is Kind.INVARIANT or (state.kind is Kind.REPLICATE and not grad)
    return (state.kind, state.dim) == (held.kind, held.dim)


def _get_type(value: Value | Operand) -> tuple[Shape, str, dict[str, State]]:
    return value.shape, value.dtype, {**value.states}


def _describe(value: Value | Operand) -> str:
    return format_type(value.shape, value.dtype, value.states)
