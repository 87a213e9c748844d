"""The number of experts has a name where a module reads it."""

from __future__ import annotations

import ast
from collections.abc import Collection
from copy import deepcopy
from dataclasses import replace

from parc.ir.expression import Expression, attribute
from parc.ir.program import Program, Stage, Unit
from parc.ir.runtime_names import EXPERT_COUNT
from parc.ir.walk import rewrite_event, rewrite_operand
from parc.plan.mesh import identify_group

_READERS = {
    "dispatch": 2,
    "dispatch_among": 2,
    "dispatch_local": 2,
    "keep_within_capacity": 1,
    "F.one_hot": 1,
    "GroupedLinear": 0,
}
"""Functions that take the number of experts, and the place of it among their arguments."""


def name_expert_counts(program: Program) -> Program:
    """The program, with `self.n_experts` for the number in experts and in the modules that call them."""
    return replace(program, stages=tuple(map(_name_in_stage, program.stages)))


def _name_in_stage(stage: Stage) -> Stage:
    counts = {unit.name: unit.experts.count for unit in stage.units if unit.experts}

    def name_count(unit: Unit) -> Unit:
        held = {counts[member] for member in (unit.name, *unit.members.values()) if member in counts}
        return _name_in_unit(unit, held.pop()) if len(held) == 1 else unit

    return replace(stage, root=name_count(stage.root), units=tuple(map(name_count, stage.units)))


def _name_in_unit(unit: Unit, count: int) -> Unit:
    if EXPERT_COUNT in _list_attributes(unit):
        return unit
    namer = _CountNamer(count)
    named = replace(
        unit,
        events=tuple(rewrite_event(event, namer.rewrite) for event in unit.events),
        results=tuple(rewrite_operand(result, namer.rewrite) for result in unit.results),
        layers={path: namer.rewrite(constructor) for path, constructor in unit.layers.items()},
    )
    return replace(named, numbers={EXPERT_COUNT: count, **unit.numbers}) if namer.found else unit


def _list_attributes(unit: Unit) -> Collection[str]:
    paths = [each.path for each in unit.parameters] + [each.path for each in unit.buffers]
    groups = map(identify_group, unit.groups)
    return {path.partition(".")[0] for path in (*paths, *unit.members, *unit.numbers, *groups)}


class _CountNamer(ast.NodeTransformer):
    """Writes the attribute for a number of experts, in a copy: trees are shared."""

    def __init__(self, count: int) -> None:
        self.count, self.found = count, False

    def rewrite(self, expression: Expression) -> Expression:
        tree = self.visit(deepcopy(expression.tree))
        assert isinstance(tree, ast.expr)
        return Expression(tree)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        place = _READERS.get(ast.unparse(node.func))
        if place is not None and place < len(node.args):
            match node.args[place]:
                case ast.Constant(value=int(value)) if value == self.count:
                    node.args[place], self.found = attribute(EXPERT_COUNT), True
        return node
