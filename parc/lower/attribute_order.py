"""Modules hold their parameters and members in the order of the user's constructors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from parc.ir.parameters import get_first_user_name
from parc.ir.program import Program, Stage, Unit


def order_attributes(program: Program) -> Program:
    """The program with the order of every unit."""
    places: dict[str, int] = {}  # of the first parameter at or below each path of the user's model
    for place, name in enumerate(program.recipes):
        parts = name.split(".")
        for length in range(1, len(parts) + 1):
            places.setdefault(".".join(parts[:length]), place)

    def order(stage: Stage) -> Stage:
        units = tuple(_order_unit(unit, (), places) for unit in stage.units)
        return replace(stage, root=_order_unit(stage.root, (stage.layers_path,), places), units=units)

    return replace(program, stages=tuple(map(order, program.stages)))


def _order_unit(unit: Unit, lists: tuple[str, ...], places: Mapping[str, int]) -> Unit:
    """`lists` are the paths of lists of layers in the unit."""
    names = {each.path: get_first_user_name(each) for each in unit.parameters}
    names |= {path: path for path in (*unit.members, *lists)}
    owner = f"{unit.path}." if unit.path else ""
    found = sorted(names, key=lambda path: places.get(owner + names[path], len(places)))
    return replace(unit, order=tuple(found))
