"""Faults of lowering: events, parameters or stages of a program that are others than the placed model's."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any, TypeAlias

from fault_kinds.registry import Baseline, Sites, fault
from parc.ir.expression import Expression
from parc.ir.program import (
    Accumulate,
    Call,
    Collective,
    Compute,
    Event,
    Let,
    Parameter,
    Program,
    Recv,
    Repeat,
    Send,
    Unit,
)
from parc.ir.states import I, P, R, S

Where: TypeAlias = tuple[int, ...]  # of an event: its place, and in a loop the place in its body
FLOAT = "torch.float64"


def _units(program: Program) -> Iterator[Unit]:
    """Each unit once; a root has its stage's number in its name's place."""
    seen: set[str] = set()
    for stage in program.stages:
        for unit in stage.units:
            if unit.name not in seen:
                seen.add(unit.name)
                yield unit


def _sites(program: Program) -> Iterator[tuple[str, Unit, Callable[[Unit], Callable[[Any], Any]]]]:
    """A name of each unit, the unit, and what puts another one in its place, in all stages that have it."""
    for unit in _units(program):
        yield unit.name, unit, lambda new: lambda program: _replace_unit(program, new)
    for number, stage in enumerate(program.stages):

        def put(new: Unit, number: int = number) -> Callable[[Any], Any]:
            return lambda program: _replace_stage(program, number, root=new)

        yield f"stage {number}", stage.root, put


def _replace_unit(program: Program, new: Unit) -> Program:
    stages = [
        replace(stage, units=tuple(new if unit.name == new.name else unit for unit in stage.units))
        for stage in program.stages
    ]
    return replace(program, stages=tuple(stages))


def _replace_stage(program: Program, number: int, **changes: Any) -> Program:
    stages = list(program.stages)
    stages[number] = replace(stages[number], **changes)
    return replace(program, stages=tuple(stages))


def _events(unit: Unit) -> Iterator[tuple[Where, Event]]:
    for place, event in enumerate(unit.events):
        if isinstance(event, Repeat):
            for inner, each in enumerate(event.body):
                yield (place, inner), each
        yield (place,), event


def _with_event(unit: Unit, where: Where, *new: Event) -> Unit:
    events = list(unit.events)
    if len(where) == 2:
        repeat = events[where[0]]
        assert isinstance(repeat, Repeat)
        body = (*repeat.body[: where[1]], *new, *repeat.body[where[1] + 1 :])
        events[where[0]] = replace(repeat, body=body)
    else:
        events[where[0] : where[0] + 1] = new
    return replace(unit, events=tuple(events))


def _find_source(unit: Unit, where: Where, event: Collective) -> str:
    """The expression of what a collective is applied to, where that is a variable of its own."""
    read = str(event.operand.expression)
    before = [each for place, each in _events(unit) if place < where and isinstance(each, Compute)]
    made = [each for each in before if read in [result.name for result in each.results]]
    return f"{read} {made[-1].value}" if made else read


def _collectives(
    program: Program,
) -> Iterator[tuple[str, Unit, Where, Collective, Callable[[Unit], Callable[[Any], Any]]]]:
    """Those that change a value or its gradient."""
    for name, unit, put in _sites(program):
        for where, event in _events(unit):
            if isinstance(event, Collective) and "zeros" not in _find_source(unit, where, event):
                acts = event.forward or event.backward or event.dst.sharded or event.dst == P
                if acts:
                    yield f"{name}.{event.result.name} {where} {event.verb}", unit, where, event, put


@fault("a collective is dropped", "lower")
def _drop_collectives(baseline: Baseline) -> Sites:
    for site, unit, where, event, put in _collectives(baseline.program):
        passed = Compute((event.result,), event.operand.expression)
        yield site, put(_with_event(unit, where, passed))


@fault("a collective is over another axis", "lower")
def _move_collectives(baseline: Baseline) -> Sites:
    for site, unit, where, event, put in _collectives(baseline.program):
        for axis in baseline.placed.layout.axes:
            if axis != event.axis:
                moved = _with_event(unit, where, replace(event, axis=axis))
                groups = tuple(each for each in baseline.placed.layout.axes if each in {axis, *unit.groups})
                yield f"{site} over {axis}", put(replace(moved, groups=groups))


@fault("a collective has another source or destination", "lower")
def _convert_otherwise(baseline: Baseline) -> Sites:
    for site, unit, where, event, put in _collectives(baseline.program):
        changes: list[dict[str, Any]] = []
        if event.grad and event.dst in (I, R) and event.verb == "all_gather":
            changes.append({"dst": R if event.dst == I else I})
        if event.grad and event.verb == "convert" and event.src in (I, R) and event.dst.sharded:
            changes.append({"src": R if event.src == I else I})
        if event.verb == "convert" and event.dst == R:
            changes.append({"dst": P, "src": R})
        for key in ("src", "dst"):
            state = getattr(event, key)
            if state.sharded:
                sizes = enumerate(event.operand.shape)
                changes += [{key: S(dim)} for dim, size in sizes if dim != state.dim and size != 1]
                if state.blocks > 1:
                    changes.append({key: S(state.dim)})
        for change in changes:
            shown = ", ".join(f"{key} = {state}" for key, state in change.items())
            yield f"{site} {shown}", put(_with_event(unit, where, replace(event, **change)))


def _parameters(
    program: Program,
) -> Iterator[tuple[str, Unit, Parameter, Callable[[Parameter], Callable[[Any], Any]]]]:
    for name, unit, put in _sites(program):
        for parameter in unit.parameters:

            def put_parameter(
                new: Parameter, unit: Unit = unit, old: Parameter = parameter, put: Any = put
            ) -> Callable[[Any], Any]:
                kept = tuple(new if each is old else each for each in unit.parameters)
                inject: Callable[[Any], Any] = put(replace(unit, parameters=kept))
                return inject

            yield f"{name}.{parameter.path}", unit, parameter, put_parameter


@fault("a parameter lies otherwise", "lower")
def _place_otherwise(baseline: Baseline) -> Sites:
    for site, _, parameter, put in _parameters(baseline.program):
        for axis, (dim, blocks) in parameter.sharded.items():
            others = [(other, 1) for other in range(len(parameter.shape)) if other != dim]
            others += [(dim, 1)] if blocks > 1 else [(dim, 2)]
            for other in others:
                sharded: Mapping[str, tuple[int, int]] = {**parameter.sharded, axis: other}
                yield f"{site} {axis}: {other}", put(replace(parameter, sharded=sharded))
            rest = {key: at for key, at in parameter.sharded.items() if key != axis}
            yield f"{site} whole over {axis}", put(replace(parameter, sharded=rest))


@fault("a gradient is summed over other axes", "lower")
def _reduce_otherwise(baseline: Baseline) -> Sites:
    for site, _, parameter, put in _parameters(baseline.program):
        for axis in parameter.reduce:
            rest = tuple(each for each in parameter.reduce if each != axis)
            yield f"{site} without {axis}", put(replace(parameter, reduce=rest))
        for axis in baseline.placed.layout.axes:
            if axis not in parameter.reduce and axis not in parameter.sharded:
                more = (*parameter.reduce, axis)
                yield f"{site} with {axis}", put(replace(parameter, reduce=more))


@fault("experts are drawn otherwise", "lower")
def _draw_otherwise(baseline: Baseline) -> Sites:
    for site, _, parameter, put in _parameters(baseline.program):
        if parameter.experts:
            yield f"{site} as one", put(replace(parameter, experts=False))


@fault("a parameter begins otherwise", "lower")
def _begin_otherwise(baseline: Baseline) -> Sites:
    recipes = baseline.program.recipes
    for name, recipe in recipes.items():
        other = (("uniform_", -0.1, 0.1),) if recipe[0][0] != "uniform_" else (("normal_", 0.0, 0.1),)
        yield name, partial(replace, recipes={**recipes, name: other})


@fault("another value is sent", "lower")
def _send_others(baseline: Baseline) -> Sites:
    program = baseline.program
    for number, stage in enumerate(program.stages[:-1]):
        for places in combinations(range(len(stage.gives)), 2):
            yield f"stage {number} {places} exchanged", _exchange_sent(number, *places)
        for place in range(len(stage.gives)):
            yield f"stage {number} without {place}", _drop_sent(number, place)
            given = stage.root.results[place]
            like = [
                value
                for value in stage.root.inputs
                if (value.shape, value.dtype) == (given.shape, given.dtype)
                and value.name != str(given.expression)  # a variable that is bound anew
            ]
            for other in like:
                results = list(stage.root.results)
                results[place] = replace(given, expression=Expression(ast.Name(other.name, ast.Load())))
                root = replace(stage.root, results=tuple(results))
                yield (
                    f"stage {number} {place} as it came",
                    _change_stage(number, root=root),
                )


def _exchange_sent(number: int, one: int, other: int) -> Callable[[Any], Any]:
    def inject(program: Program) -> Program:
        results = list(program.stages[number].root.results)
        results[one], results[other] = results[other], results[one]
        return _replace_stage(
            program, number, root=replace(program.stages[number].root, results=tuple(results))
        )

    return inject


def _drop_sent(number: int, place: int) -> Callable[[Any], Any]:
    """The value is sent by neither and received by none."""

    def without(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*values[:place], *values[place + 1 :])

    def inject(program: Program) -> Program:
        stage, following = program.stages[number : number + 2]
        sent = [replace(e, values=without(e.values)) if isinstance(e, Send) else e for e in stage.root.events]
        root = replace(stage.root, events=tuple(sent), results=without(stage.root.results))
        got = [
            replace(e, values=without(e.values)) if isinstance(e, Recv) else e for e in following.root.events
        ]
        receiving = replace(following.root, events=tuple(got), inputs=without(following.root.inputs))
        program = _replace_stage(program, number, root=root, shapes=without(stage.shapes))
        return _replace_stage(program, number + 1, root=receiving)

    return inject


@fault("a stage begins at another layer", "lower")
def _begin_at_other_layers(baseline: Baseline) -> Sites:
    for number, stage in enumerate(baseline.program.stages):
        for other in {stage.first_layer + 1, max(stage.first_layer - 1, 0)} - {stage.first_layer}:
            yield f"stage {number} at {other}", _change_stage(number, first_layer=other)


def _change_stage(number: int, **changes: Any) -> Callable[[Any], Any]:
    return lambda program: _replace_stage(program, number, **changes)


@fault("layers are left out", "lower")
def _leave_layers_out(baseline: Baseline) -> Sites:
    for number, stage in enumerate(baseline.program.stages):
        for where, event in _events(stage.root):
            if isinstance(event, Repeat):
                if event.count > 1:
                    for start in (event.start, event.start + 1):
                        short = replace(event, start=start, count=event.count - 1)
                        root = _with_event(stage.root, where, short)
                        yield f"stage {number} {where} from {start}", _change_stage(number, root=root)
                root = _with_event(stage.root, where)
                yield f"stage {number} {where} all", _change_stage(number, root=root)


@fault("layers are of another kind", "lower")
def _order_layers_otherwise(baseline: Baseline) -> Sites:
    for number, stage in enumerate(baseline.program.stages):
        for one, other in combinations(range(len(stage.layers)), 2):
            if stage.layers[one] != stage.layers[other]:
                layers = list(stage.layers)
                layers[one], layers[other] = layers[other], layers[one]
                yield f"stage {number} {one}, {other}", _change_stage(number, layers=tuple(layers))


def _set_field(program: Program, key: str, value: tuple[str, ...]) -> Program:
    return replace(program, **{key: value})  # type: ignore[arg-type]


@fault("a loss is summed over other axes", "lower")
def _sum_losses_otherwise(baseline: Baseline) -> Sites:
    program = baseline.program
    keys = ["loss_axes", *(["balance_axes"] if program.balanced else [])]
    keys += ["load_axes"] if program.load_axes is not None else []
    for key in keys:
        axes = getattr(program, key)
        for axis in baseline.placed.layout.axes:
            if axis not in axes and key == "load_axes":
                continue  # the load is a ratio of counts, which are multiplied alike
            other = tuple(each for each in axes if each != axis) if axis in axes else (*axes, axis)
            yield f"{key} {other}", partial(_set_field, key=key, value=other)
    if program.load_axes is not None:
        yield "no load", partial(replace, load_axes=None)


@fault("an event reads another variable", "lower")
def _read_other_variables(baseline: Baseline) -> Sites:
    for name, unit, put in _sites(baseline.program):
        bound = {value.name: value for value in unit.inputs}
        for where, event in _events(unit):
            if isinstance(event, Call | Collective):
                operands = event.operands if isinstance(event, Call) else (event.operand,)
                for place, operand in enumerate(operands):
                    for other in bound.values():
                        same = (other.shape, other.dtype) == (operand.shape, operand.dtype)
                        if same and other.name not in (str(operand.expression), "_"):
                            read = replace(operand, expression=Expression(ast.Name(other.name, ast.Load())))
                            new = (*operands[:place], read, *operands[place + 1 :])
                            changed = (
                                replace(event, operands=new)
                                if isinstance(event, Call)
                                else replace(event, operand=read)
                            )
                            site = f"{name} {where} {operand.expression} -> {other.name}"
                            yield site, put(_with_event(unit, where, changed))
            results = getattr(event, "results", (event.result,) if isinstance(event, Collective) else ())
            bound |= {value.name: value for value in results}


@fault("a buffer is not updated", "lower")
def _forget_updates(baseline: Baseline) -> Sites:
    for name, unit, put in _sites(baseline.program):
        for where, event in _events(unit):
            if isinstance(event, Accumulate):
                yield f"{name}.{event.buffer}", put(_with_event(unit, where))


@fault("buffers are exchanged", "lower")
def _exchange_buffers(baseline: Baseline) -> Sites:
    for name, unit, put in _sites(baseline.program):
        for one, other in combinations(unit.buffers, 2):
            if str(one.value) != str(other.value):
                variables = [s.name for s in other.statements if isinstance(s, Let)]
                if not variables:  # each can be computed where the other is
                    new = {
                        one.path: replace(one, value=other.value),
                        other.path: replace(other, value=one.value),
                    }
                    buffers = tuple(new.get(each.path, each) for each in unit.buffers)
                    yield f"{name} {one.path}, {other.path}", put(replace(unit, buffers=buffers))


@fault("a number of a module is another", "lower")
def _change_numbers(baseline: Baseline) -> Sites:
    for name, unit, put in _sites(baseline.program):
        for key, number in unit.numbers.items():
            other = number + 1 if isinstance(number, int) else 1.5 * number
            yield f"{name}.{key}", put(replace(unit, numbers={**unit.numbers, key: other}))


@fault("experts are counted otherwise", "lower")
def _count_experts_otherwise(baseline: Baseline) -> Sites:
    for name, unit, put in _sites(baseline.program):
        if unit.experts:
            more = replace(unit.experts, count=unit.experts.count + 1)
            yield f"{name} one more", put(replace(unit, experts=more))
