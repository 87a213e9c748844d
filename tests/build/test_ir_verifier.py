"""The verifier accepts what the compiler makes of the examples, and finds each way to break it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache

import pytest

from parc.capture.capture import capture
from parc.check.load import choose, load
from parc.diagnostic import CompileError, Diagnostic
from parc.emit.program import emit
from parc.ir.expression import Expression, expr, name
from parc.ir.program import Call, Collective, Compute, Event, Let, Operand, Program, Repeat, Send, Unit, Value
from parc.ir.states import I, P, R, S
from parc.ir.verifier import find_inconsistencies
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.shard.propagate import propagate
from tests.build.conftest import EXAMPLES, PLANS


@cache
def compiled(file: str, plan: str) -> tuple[Plan, Program]:
    chosen = choose(load(EXAMPLES / f"{file}.parc"), plan)
    assert not isinstance(chosen, Diagnostic)
    captured = capture(chosen)
    return chosen, lower(chosen, captured, propagate(chosen, captured))


def faults(program: Program, plan: Plan) -> list[str]:
    return list(find_inconsistencies(program, {axis.name: axis.size for axis in plan.mesh.axes}))


@pytest.mark.parametrize(("file", "plan"), PLANS)
def test_the_programs_of_the_examples_are_consistent(file: str, plan: str) -> None:
    chosen, program = compiled(file, plan)
    assert faults(program, chosen) == []


def edited(program: Program, unit: str, edit: Callable[[Unit], Unit], stage: int = 0) -> Program:
    """The program with a unit of a stage replaced."""
    old = program.stages[stage]
    assert unit in {each.name for each in (*old.units, old.root)}

    def apply(each: Unit) -> Unit:
        return edit(each) if each.name == unit else each

    new = replace(old, root=apply(old.root), units=tuple(map(apply, old.units)))
    return replace(program, stages=(*program.stages[:stage], new, *program.stages[stage + 1 :]))


def with_events(edit: Callable[[Event], Event | None]) -> Callable[[Unit], Unit]:
    """A unit with every event replaced; None drops one."""

    def apply(events: tuple[Event, ...]) -> tuple[Event, ...]:
        found = []
        for event in events:
            new = edit(event)
            if isinstance(new, Repeat):
                new = replace(new, body=apply(new.body))
            found += [new] if new is not None else []
        return tuple(found)

    return lambda unit: replace(unit, events=apply(unit.events))


def of_kind(kind: type[Event], edit: Callable[..., Event | None]) -> Callable[[Unit], Unit]:
    """A unit with its events of one kind replaced."""
    return with_events(lambda event: edit(event) if isinstance(event, kind) else event)


def _other_shape(value: Value) -> Value:
    return replace(value, shape=(*value.shape[:-1], 7))


BROKEN: Mapping[str, tuple[str, Callable[[Unit], Unit], str]] = {
    "a variable that is bound to another name": (
        "MoE",
        of_kind(Compute, lambda c: replace(c, results=tuple(replace(r, name="other") for r in c.results))),
        "reads `tokens`, which is not bound before",
    ),
    "a call that is left out": ("MoE", of_kind(Call, lambda call: None), "which is not bound before"),
    "an attribute that is not there": (
        "RMSNorm",
        lambda unit: replace(unit, numbers={}),
        "reads `self.eps`, which is not there",
    ),
    "a parameter that is not there": (
        "RMSNorm",
        lambda unit: replace(unit, parameters=()),
        "reads `self.weight`, which is not there",
    ),
    "a layer that is not there": (
        "Attention",
        lambda unit: replace(unit, layers={}),
        "reads `self.wq`, which is not there",
    ),
    "a layer without parameters": (
        "Attention",
        lambda unit: replace(unit, parameters=unit.parameters[1:]),
        "the layer `wq` has no parameters",
    ),
    "a layer over a group that is not held": (
        "Attention",
        lambda unit: replace(unit, groups=()),
        "`ColumnLinear(64, 64, self.tp)` reads `self.tp`, which is not there",
    ),
    "a buffer that reads a variable of no one": (
        "Stage",
        lambda unit: replace(
            unit,
            buffers=tuple(
                replace(buffer, statements=tuple(Let("other", each.value) for each in buffer.statements))
                for buffer in unit.buffers
            ),
        ),
        "reads `angles`, which is not bound before",
    ),
    "a count without a buffer": (
        "Experts",
        lambda unit: replace(unit, experts=None),
        "adds to `tokens_per_expert`, which is not there",
    ),
    "a member that is not there": (
        "MoE",
        lambda unit: replace(unit, members={"experts": "Experts"}),
        "calls `router`, which is no member",
    ),
    "a member of another unit": (
        "MoE",
        lambda unit: replace(unit, members={**unit.members, "router": "RMSNorm"}),
        "calls `router` as `Router`, but it is `RMSNorm`",
    ),
    "a member of a unit that is not there": (
        "MoE",
        lambda unit: replace(unit, members={**unit.members, "router": "Nothing"}),
        "the member `router` is of a unit `Nothing` that is not there before",
    ),
    "an operand too few": (
        "MoE",
        of_kind(Call, lambda call: replace(call, operands=call.operands[:-1])),
        "operands, but `Router` has 1",
    ),
    "a result too few": (
        "MoE",
        of_kind(Call, lambda call: replace(call, results=call.results[:-1])),
        "results, but `Router` has 3",
    ),
    "an operand of another shape": (
        "Router",
        lambda unit: replace(unit, inputs=tuple(map(_other_shape, unit.inputs))),
        "`Router` has float32[256, 7]",
    ),
    "an operand of another type": (
        "Router",
        lambda unit: replace(unit, inputs=tuple(replace(each, dtype="torch.int64") for each in unit.inputs)),
        "`Router` has int64[256, 64]",
    ),
    "rows of unlike numbers for experts": (
        "MoE",
        of_kind(
            Call,
            lambda call: replace(
                call,
                operands=(call.operands[0], *(replace(each, shape=(7, 2)) for each in call.operands[1:])),
            ),
        ),
        "`Experts` has int64[tokens, k]",
    ),
    "a collective that there is not": (
        "MoEBlock",
        of_kind(Collective, lambda move: replace(move, dst=R)),
        "there is no all_reduce from P to R",
    ),
    "a collective from another state": (
        "Attention",
        of_kind(Collective, lambda move: replace(move, src=R, dst=P)),
        "R -> P, has an operand that is I",
    ),
    "a collective to another state": (
        "Attention",
        of_kind(Collective, lambda move: replace(move, dst=S(0))),
        "I -> S(0), has a result that is R",
    ),
    "a collective of another shape": (
        "Attention",
        of_kind(Collective, lambda move: replace(move, result=_other_shape(move.result))),
        "I -> R, gives float32[4, 64, 7]",
    ),
    "a collective that changes another axis": (
        "Attention",
        of_kind(Collective, lambda move: replace(move, result=replace(move.result, states={"tp": R}))),
        "changes the state on another axis",
    ),
    "a collective that changes the type": (
        "Attention",
        of_kind(Collective, lambda move: replace(move, result=replace(move.result, dtype="torch.bfloat16"))),
        "changes torch.float32 to torch.bfloat16",
    ),
    "a collective of a value that is another by now": (
        "MoEBlock",
        of_kind(Collective, lambda move: replace(move, operand=replace(move.operand, states={"tp": P}))),
        "but its variable is float32[4, 64, 64] {ep: S(0), tp: P}",
    ),
    "a group that is not held": (
        "MoEBlock",
        lambda unit: replace(unit, groups=()),
        "all_reduce over `tp`, whose group it does not hold",
    ),
    "a group that an expression reads": (
        "Router",
        lambda unit: replace(unit, groups=()),
        "reads `self.ep.size`, which is not there",
    ),
    "an illegal collective inside of a function": (
        "Experts",
        of_kind(Compute, lambda c: replace(c, inside=tuple(replace(each, dst=I) for each in c.inside))),
        "there is no dispatch from V to I",
    ),
    "more layers than there are": (
        "Stage",
        of_kind(Repeat, lambda repeat: replace(repeat, count=3)),
        "repeats layers 0 to 2 of 2",
    ),
    "a value that is sent as it is not": (
        "Stage",
        of_kind(Send, lambda send: replace(send, values=tuple(map(_other_shape, send.values[:1])))),
        "sends x: float32[4, 64, 7]",
    ),
    "a result that is not what its variable is": (
        "MoE",
        lambda unit: replace(
            unit, results=(Operand(Expression(name("out")), (7,), "torch.float32"), *unit.results[1:])
        ),
        "the result is float32[7], but its variable is",
    ),
    "a result that reads what is not bound": (
        "MoE",
        lambda unit: replace(
            unit,
            results=(replace(unit.results[0], expression=Expression(expr("other + 1"))), unit.results[1]),
        ),
        "`other + 1` reads `other`, which is not bound before",
    ),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_an_inconsistent_program_is_found(broken: str) -> None:
    unit, edit, said = BROKEN[broken]
    plan, program = compiled("quickstart", "quickstart")
    found = faults(edited(program, unit, edit), plan)
    assert any(said in fault for fault in found), found


def test_what_is_sent_is_what_the_next_stage_receives() -> None:
    plan, program = compiled("quickstart", "quickstart")
    first, second = program.stages
    received, *events = second.root.events
    assert not isinstance(received, Repeat | Collective | Compute | Call)
    for values, said in (
        (tuple(map(_other_shape, received.values[:1])), "receives (x: float32[4, 64, 7] {ep: S(0)})"),
        (tuple(replace(each, dtype="torch.float64") for each in received.values), "receives (x: float64"),
        (received.values[:1], "receives (x: float32[4, 64, 64] {ep: S(0)})"),
    ):
        root = replace(second.root, events=(replace(received, values=values), *events))
        broken = replace(program, stages=(first, replace(second, root=root)))
        assert any(said in fault for fault in faults(broken, plan))


def test_a_layer_of_a_unit_that_is_not_there() -> None:
    plan, program = compiled("quickstart", "quickstart")
    first, second = program.stages
    broken = replace(program, stages=(replace(first, layers=("Nothing", "Nothing")), second))
    assert any("there is no unit `Nothing`" in fault for fault in faults(broken, plan))


def test_an_inconsistent_program_is_not_emitted() -> None:
    plan, program = compiled("quickstart", "quickstart")
    broken = edited(program, "MoEBlock", lambda unit: replace(unit, groups=()))
    with pytest.raises(CompileError) as refused:
        emit(plan, broken, {})
    (fault,) = refused.value.diagnostics
    assert fault.code == "P512"
    assert "unit `MoEBlock`: all_reduce over `tp`, whose group it does not hold" in fault.message
    assert "report it" in str(fault.help)
