"""What a unit holds, as the statements of its `__init__`: numbers, groups, parameters, members, buffers."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import TypeAlias

from torch import nn

from parc.emit.trees import assign
from parc.ir.expression import (
    attribute,
    call,
    expr,
    group_attribute,
    is_plain_name,
    list_names,
    literal,
    name,
)
from parc.ir.parameters import sort_paths
from parc.ir.program import Buffer, Let, Parameter, Stage, Unit
from parc.ir.runtime_names import EXPERT_COUNT, TOKEN_COUNTS
from parc.ir.states import S, derive_local_shape
from parc.plan.mesh import identify_group

_MODULE_DICT = frozenset(dir(nn.ModuleDict()))
"""Names that no item of an `nn.ModuleDict` can have."""

_Attributes: TypeAlias = "dict[str, ast.expr | _Attributes]"  # by name, those of submodules below theirs


def write_init(
    unit: Unit, takes_mesh: Collection[str], stage: Stage | None, sizes: Mapping[str, int]
) -> Iterator[ast.stmt]:
    """`stage` where the unit is the root of one; `takes_mesh` are the units whose constructors do.

    `sizes` are those of the mesh's axes. Layers that are no units are parameters of the root.
    """
    for attr, number in unit.numbers.items():
        yield assign(attribute(attr), literal(number))
    for group in unit.groups:
        known = literal(identify_group(group))
        yield assign(group_attribute(group), expr("mesh.get_group(group)", group=known))
    held: dict[str, tuple[str, ast.expr]] = {}  # by what `unit.order` has: an attribute path and its value
    for parameter in unit.parameters:
        if (layer := parameter.path.rpartition(".")[0]) in unit.layers:
            held[parameter.path] = layer, unit.layers[layer].tree
        else:
            held[parameter.path] = parameter.path, _declare_parameter(parameter, sizes)
    held |= {path: (path, _construct(member, takes_mesh)) for path, member in unit.members.items()}
    if stage is not None and stage.layers:
        held[stage.layers_path] = stage.layers_path, _build_layers(stage, takes_mesh)
    attributes: _Attributes = {}
    for key in sort_paths(unit, held):
        _put(attributes, *held[key])
    for attr, value in attributes.items():
        yield assign(attribute(attr), _build_module(value))
    yield from _write_buffers(unit.buffers)
    if unit.experts is not None:
        named = unit.numbers.get(EXPERT_COUNT) == unit.experts.count
        count = attribute(EXPERT_COUNT) if named else literal(unit.experts.count)
        zeros = expr("torch.zeros(count, dtype=torch.int64, device=mesh.device_type)", count=count)
        yield _register_buffer(TOKEN_COUNTS, zeros)


def _put(attributes: _Attributes, path: str, tree: ast.expr) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        below = attributes.setdefault(parent, {})
        assert isinstance(below, dict)
        attributes = below
    attributes[last] = tree


def _build_module(value: ast.expr | _Attributes) -> ast.expr:
    """An attribute: a value, or a submodule that holds some."""
    if isinstance(value, ast.expr):
        return value
    below = {attr: _build_module(child) for attr, child in value.items()}
    is_weight = [_is_parameter(tree) for tree in below.values()]
    if not any(is_weight) and not _MODULE_DICT.intersection(below):
        return call("nn.ModuleDict", literal(below))  # whose items are attributes as well
    if all(map(is_plain_name, below)):
        return call("Weights", **below)
    return call("nn.ParameterDict" if all(is_weight) else "nn.ModuleDict", literal(below))


def _is_parameter(tree: ast.expr) -> bool:
    return isinstance(tree, ast.Call) and ast.unparse(tree.func) == "nn.Parameter"


def _construct(unit: str, takes_mesh: Collection[str]) -> ast.expr:
    return call(unit, name("mesh")) if unit in takes_mesh else call(unit)


def _declare_parameter(parameter: Parameter, sizes: Mapping[str, int]) -> ast.expr:
    """This rank's share, without values."""
    states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
    local = derive_local_shape(parameter.shape, states, sizes)
    dtype = {} if parameter.dtype == "torch.float32" else {"dtype": expr(parameter.dtype)}
    shape = map(literal, local) if local else [literal(())]
    return expr("nn.Parameter(empty)", empty=call("torch.empty", *shape, **dtype))


def _build_layers(stage: Stage, takes_mesh: Collection[str]) -> ast.expr:
    runs = [(unit, len(list(same))) for unit, same in groupby(stage.layers)]
    if len(runs) == 1:
        ((unit, count),) = runs
        template = "nn.ModuleDict({str(first_layer + i): layer for i in range(count)})"
        template = template if count > 1 else "nn.ModuleDict({str(first_layer): layer})"
        return expr(template, layer=_construct(unit, takes_mesh), count=literal(count))
    kinds = _concatenate(_build_runs(runs, takes_mesh))
    template = "nn.ModuleDict({str(first_layer + i): layer for i, layer in enumerate(kinds)})"
    return expr(template, kinds=kinds)


def _build_runs(runs: Sequence[tuple[str, int]], takes_mesh: Collection[str]) -> Iterator[ast.expr]:
    """Lists of layers: of several layers of one class, or of layers that have no neighbour of their class."""
    for single, some in groupby(runs, key=lambda run: run[1] == 1):
        if single:
            yield ast.List([_construct(unit, takes_mesh) for unit, _ in some], ast.Load())
        else:
            template = "[layer for _ in range(n)]"
            yield from (expr(template, layer=_construct(u, takes_mesh), n=literal(n)) for u, n in some)


def _concatenate(trees: Iterable[ast.expr]) -> ast.expr:
    total, *rest = trees
    for tree in rest:
        total = expr("total + tree", total=total, tree=tree)
    return total


def _write_buffers(buffers: Sequence[Buffer]) -> Iterator[ast.stmt]:
    values = [*(buffer.value for buffer in buffers), *(each.value for b in buffers for each in b.statements)]
    if "device" in list_names([value.tree for value in values]):
        yield assign(name("device"), expr("mesh.device_type"))
    for buffer in buffers:
        for each in buffer.statements:
            tree = each.value.tree
            yield assign(name(each.name), tree) if isinstance(each, Let) else _write_change(tree)
        yield _register_buffer(buffer.path, buffer.value.tree)


def _write_change(tree: ast.expr) -> ast.stmt:
    """`x[i] = y` for a copy to a part of a tensor."""
    match tree:
        case ast.Call(ast.Attribute(ast.Subscript() as part, "copy_"), [value]):
            if isinstance(value, ast.Call) and ast.unparse(value.func) == "torch.scalar_tensor":
                value = value.args[0]
            return assign(part, value)
    return ast.Expr(tree)


def _register_buffer(path: str, tree: ast.expr) -> ast.stmt:
    owner, _, last = path.rpartition(".")
    module = attribute(owner) if owner else name("self")
    template = "module.register_buffer(last, tree, persistent=False)"
    return ast.Expr(expr(template, module=module, last=literal(last), tree=tree))
