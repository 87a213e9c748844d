"""What a unit holds, as the statements of its `__init__`: numbers, groups, parameters, members, buffers."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import reduce
from itertools import groupby
from typing import TypeAlias

from parc.emit.trees import assign
from parc.ir.expression import attribute, call, expr, literal, name, names_in
from parc.ir.program import Buffer, Parameter, Stage, Unit
from parc.ir.states import S, local_shape

_Attributes: TypeAlias = "dict[str, ast.expr | _Attributes]"  # by name, those of submodules below theirs


def init_statements(
    unit: Unit, takes_mesh: Collection[str], sizes: Mapping[str, int], stage: Stage | None
) -> Iterator[ast.stmt]:
    """`takes_mesh` are the units whose constructors do; `stage` is that of which the unit is the root."""
    for attr, number in unit.numbers.items():
        yield assign(attribute(attr), literal(number))
    for axis in unit.groups:
        yield assign(attribute(axis), expr("mesh.get_group(axis)", axis=literal(axis)))
    attributes: _Attributes = {}
    for parameter in unit.parameters:
        _put(attributes, parameter.path, _parameter(parameter, sizes))
    for path, member in unit.members.items():
        _put(attributes, path, _new(member, takes_mesh))
    if stage is not None:
        _put(attributes, stage.layers_path, _layers(stage, takes_mesh))
    for attr, value in attributes.items():
        yield assign(attribute(attr), _module(value))
    yield from _buffers(unit.buffers)
    if unit.experts is not None:
        count = literal(unit.experts.count)
        load = expr("torch.zeros(count, dtype=torch.int64, device=mesh.device_type)", count=count)
        yield _register("load", load)


def _put(attributes: _Attributes, path: str, tree: ast.expr) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        below = attributes.setdefault(parent, {})
        assert isinstance(below, dict)
        attributes = below
    attributes[last] = tree


def _module(value: ast.expr | _Attributes) -> ast.expr:
    """An attribute: a value, or a submodule that holds some."""
    if isinstance(value, ast.expr):
        return value
    below = {attr: _module(child) for attr, child in value.items()}
    if all(attr.isdigit() for attr in below):
        return call("nn.ModuleDict", literal(below))
    return call("Weights", **below)


def _new(unit: str, takes_mesh: Collection[str]) -> ast.expr:
    return call(unit, name("mesh")) if unit in takes_mesh else call(unit)


def _parameter(parameter: Parameter, sizes: Mapping[str, int]) -> ast.expr:
    """This rank's share, uninitialized: `PLACEMENTS` has the rest."""
    states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
    local = [literal(size) for size in local_shape(parameter.shape, states, sizes)] or [literal(())]
    dtype = {"dtype": expr(parameter.dtype)} if parameter.dtype != "torch.float32" else {}
    return call("nn.Parameter", call("torch.empty", *local, **dtype))


def _layers(stage: Stage, takes_mesh: Collection[str]) -> ast.expr:
    runs = [(unit, len(list(same))) for unit, same in groupby(stage.layers)]
    if len(runs) == 1:
        ((unit, count),) = runs
        template = "nn.ModuleDict({str(first_layer + i): layer for i in range(count)})"
        return expr(template, layer=_new(unit, takes_mesh), count=literal(count))
    kinds = [_times(_new(unit, takes_mesh), count) for unit, count in runs]
    template = "nn.ModuleDict({str(first_layer + i): layer for i, layer in enumerate(kinds)})"
    return expr(template, kinds=reduce(_concatenate, kinds))


def _times(layer: ast.expr, count: int) -> ast.expr:
    template = "[layer]" if count == 1 else "[layer for _ in range(count)]"
    return expr(template, layer=layer, count=literal(count))


def _concatenate(one: ast.expr, other: ast.expr) -> ast.expr:
    return expr("one + other", one=one, other=other)


def _buffers(buffers: Sequence[Buffer]) -> Iterator[ast.stmt]:
    values = [*(buffer.value for buffer in buffers), *(each.value for b in buffers for each in b.variables)]
    if "device" in names_in([value.tree for value in values]):
        yield assign(name("device"), expr("mesh.device_type"))
    for buffer in buffers:
        for variable in buffer.variables:
            yield assign(name(variable.name), variable.value.tree)
        yield _register(buffer.path, buffer.value.tree)


def _register(path: str, tree: ast.expr) -> ast.stmt:
    owner, _, last = path.rpartition(".")
    module = attribute(owner) if owner else name("self")
    template = "module.register_buffer(last, tree, persistent=False)"
    return ast.Expr(expr(template, module=module, last=literal(last), tree=tree))
