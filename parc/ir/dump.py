"""The text of a program: every unit with its parameters, values and events. `docs/ir.md` has the grammar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from parc.ir.program import (
    Accumulate,
    Buffer,
    Call,
    Collective,
    Compute,
    Event,
    Let,
    Operand,
    Parameter,
    Program,
    Recv,
    Repeat,
    Send,
    Shape,
    Unit,
    Value,
)
from parc.ir.states import S, State


def dump_program(program: Program) -> str:
    """A program as lines of text: its units, then its stages."""
    return "\n".join(_format_program(program)) + "\n"


def _format_program(program: Program) -> Iterator[str]:
    loss = "mean loss of the model" if program.mean else "losses of tokens"
    yield f"program: {loss}{_format_axes(program.loss_axes)}"
    if program.balanced:
        yield f"  balance loss{_format_axes(program.balance_axes)}"
    if program.load_axes is not None:
        yield f"  tokens of experts{_format_axes(program.load_axes)}"
    units = {unit.name: unit for stage in program.stages for unit in stage.units}
    for unit in units.values():
        yield from ("", *_format_unit(unit, f"unit {unit.name}: {unit.path}"))
    for number, stage in enumerate(program.stages):
        first, count = stage.first_layer, len(stage.layers)
        layers = f"{stage.layers_path} {first} to {first + count - 1} ({', '.join(stage.layers)})"
        yield from ("", *_format_unit(stage.root, f"stage {number}: {layers}"))


def _format_unit(unit: Unit, title: str) -> Iterator[str]:
    yield title
    yield from _indent(_format_members(unit))
    inputs = ", ".join(map(format_value, unit.inputs))
    yield f"  forward({inputs})"
    if unit.requirement is not None:
        bound = unit.requirement
        yield f"    require {bound.input}.shape[{bound.first}:] == {bound.sizes}: {bound.reason}"
    yield from _indent(_indent(_format_events(unit.events)))
    yield f"    return {', '.join(map(_format_operand, unit.results))}"


def _format_members(unit: Unit) -> Iterator[str]:
    if unit.experts is not None:
        axis = f" over {unit.experts.group}" if unit.experts.group else ""
        yield f"experts {unit.experts.count}{axis}{', tokens travel' if unit.experts.travel else ''}"
    yield from (f"number {name} = {value}" for name, value in unit.numbers.items())
    yield from (f"group {axis}" for axis in unit.groups)
    yield from map(_format_parameter, unit.parameters)
    yield from (line for buffer in unit.buffers for line in _format_buffer(buffer))
    yield from (f"layer {path} = {constructor}" for path, constructor in unit.layers.items())
    yield from (f"member {path}: {name}" for path, name in unit.members.items())


def _format_parameter(parameter: Parameter) -> str:
    states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
    whole = format_type(parameter.shape, parameter.dtype, states)
    summed = f", gradient{_format_axes(parameter.reduce)}" if parameter.reduce else ""
    experts = ", an expert a row" if parameter.experts or parameter.stack is not None else ""
    kept = ", kept in fp32" if parameter.keep_fp32 else ""
    return f"parameter {parameter.path}: {whole}{summed}{experts}{kept}"


def _format_buffer(buffer: Buffer) -> Iterator[str]:
    for each in buffer.statements:
        yield f"let {each.name} = {each.value}" if isinstance(each, Let) else f"do {each.value}"
    yield f"buffer {buffer.path} = {buffer.value}"


def _format_events(events: Sequence[Event]) -> Iterator[str]:
    for event in events:
        match event:
            case Compute():
                issued = "".join(f", issues {_format_issued(each)}" for each in event.inside)
                yield f"{_format_results(event.results, event.temporary)} = {event.value}{issued}"
            case Collective():
                yield f"{format_value(event.result)} = {_format_collective(event)}"
            case Accumulate():
                yield f"{event.buffer} += {event.value}{', once' if event.recomputed else ''}"
            case Call():
                operands = ", ".join(str(operand.expression) for operand in event.operands)
                verb = "recompute" if event.recomputed else "call"
                call = f"{verb} {event.member}({operands}){', resends' if event.resends else ''}"
                yield f"{_format_results(event.results, event.temporary)} = {call}"
            case Repeat():
                yield f"for layer in {event.layers}[{event.start}:{event.start + event.count}]"
                yield from _indent(_format_events(event.body))
            case Send() | Recv():
                verb = "send" if isinstance(event, Send) else "receive"
                yield f"{verb} {', '.join(map(format_value, event.values))}"


def _format_results(results: Sequence[Value], temporary: bool) -> str:
    return ("temporary " if temporary else "") + ", ".join(map(format_value, results))


def _format_collective(event: Collective) -> str:
    states = f"{event.axis}: {event.src} -> {event.dst}"
    return f"{event.verb}({event.operand.expression}, {states}){'' if event.grad else ', no gradient'}"


def _format_issued(event: Collective) -> str:
    reduction = "" if event.reduction == "sum" else f" ({event.reduction})"
    return f"{event.verb}({format_value(event.result)}, {event.axis}: {event.src} -> {event.dst}){reduction}"


def _format_operand(operand: Operand) -> str:
    return f"{operand.expression}: {format_type(operand.shape, operand.dtype, operand.states)}"


def format_value(value: Value) -> str:
    """A value with its type; nobody reads one that is called `_`."""
    return (
        value.name
        if value.name == "_"
        else f"{value.name}: {format_type(value.shape, value.dtype, value.states)}"
    )


def format_type(shape: Shape, dtype: str, states: Mapping[str, State] | None = None) -> str:
    """`float32[8, 64] {dp: S(0)}`: a type, and the states on the axes where a value is not invariant."""
    sizes = ", ".join(map(str, shape))
    lies = ", ".join(f"{axis}: {state}" for axis, state in (states or {}).items())
    return f"{dtype.removeprefix('torch.')}[{sizes}]{f' {{{lies}}}' if lies else ''}"


def _format_axes(axes: Sequence[str]) -> str:
    return f" summed over {', '.join(axes)}" if axes else ""


def _indent(lines: Iterable[str]) -> Iterator[str]:
    return (f"  {line}" if line else "" for line in lines)
