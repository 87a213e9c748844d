"""The parameters and units of a stage by their paths, in the order in which the emitted modules hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TypeAlias

from parc.ir.program import Parameter, Recipe, Stage, Unit

_Tree: TypeAlias = "dict[str, _Tree | Parameter | Unit]"


def named_parameters(stage: Stage) -> Iterator[tuple[str, Parameter]]:
    """As `named_parameters` of the emitted stage."""
    for path, found in _Modules(stage).walk(stage.root, ""):
        if isinstance(found, Parameter):
            yield path, found


def named_units(stage: Stage) -> Iterator[tuple[str, Unit]]:
    """As `named_modules` of the emitted stage, without the modules that only hold parameters."""
    for path, found in _Modules(stage).walk(stage.root, ""):
        if isinstance(found, Unit):
            yield path, found


def sort_paths(unit: Unit, paths: Iterable[str]) -> list[str]:
    """Paths of what a unit holds, in the order of the user's constructor; those without a place come last."""
    places = {path: place for place, path in enumerate(unit.order)}
    return sorted(paths, key=lambda path: places.get(path, len(places)))


def find_recipe(recipes: Mapping[str, Recipe], path: str, parameter: Parameter) -> Recipe:
    """The initial value of the parameter at `path` of a stage; of a list of experts, that of the first."""
    return recipes[path.removesuffix(parameter.path) + get_first_user_name(parameter)]


def get_first_user_name(parameter: Parameter) -> str:
    """The path of a parameter in the user's module; of a list of experts, that of the first."""
    if parameter.stack is None:
        return parameter.path
    stack = f"{parameter.stack}." if parameter.stack else ""
    return f"{stack}0.{parameter.path.removeprefix(stack)}"


def find_layer(stage: Stage, path: str) -> int | None:
    """The number of the layer that has the parameter or module at `path`, if any."""
    number = path.removeprefix(f"{stage.layers_path}.").partition(".")[0]
    return int(number) if path.startswith(f"{stage.layers_path}.") and number.isdigit() else None


def count_local_elements(parameter: Parameter, sizes: Mapping[str, int]) -> int:
    """Elements of a parameter on one rank."""
    return prod(parameter.shape) // prod(sizes[axis] for axis in parameter.sharded)


def join_cuts(parameter: Parameter) -> dict[str, tuple[int, int]]:
    """How the groups that shard a parameter do so: axes that shard one dim alike are one group."""
    alike: dict[tuple[int, int], list[str]] = {}
    for axis, cut in parameter.sharded.items():
        alike.setdefault(cut, []).append(axis)
    return {"+".join(axes): cut for cut, axes in alike.items()}


def list_slice_axes(parameter: Parameter, shard: Iterable[str], sizes: Mapping[str, int]) -> tuple[str, ...]:
    """Those of the axes `shard` whose ranks each update a slice of a parameter: they sum its gradient."""
    return tuple(axis for axis in shard if axis in parameter.reduce and sizes[axis] > 1)


def count_slice_elements(parameter: Parameter, shard: Iterable[str], sizes: Mapping[str, int]) -> int:
    """Elements of a parameter that one rank updates; in the last slices there may be fewer."""
    ranks = prod(sizes[axis] for axis in list_slice_axes(parameter, shard, sizes))
    return -(-count_local_elements(parameter, sizes) // ranks)


class _Modules:
    """A module, then its own parameters, then its children, each in the order of its constructor."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units = {unit.name: unit for unit in stage.units}

    def walk(self, unit: Unit, path: str) -> Iterator[tuple[str, Parameter | Unit]]:
        yield path, unit
        held: dict[str, Parameter | Unit | None] = {each.path: each for each in unit.parameters}
        held |= {member: self.units[name] for member, name in unit.members.items()}
        if unit is self.stage.root and self.stage.layers:
            held[self.stage.layers_path] = None
        tree: _Tree = {}
        for below in sort_paths(unit, held):
            if (one := held[below]) is not None:
                _put(tree, below, one)
                continue
            for number, name in enumerate(self.stage.layers, self.stage.first_layer):
                _put(tree, f"{below}.{number}", self.units[name])
        yield from self._below(tree, path)

    def _below(self, tree: _Tree, path: str) -> Iterator[tuple[str, Parameter | Unit]]:
        paths = {name: f"{path}.{name}" if path else name for name in tree}
        for name, held in tree.items():
            if isinstance(held, Parameter):
                yield paths[name], held
        for name, held in tree.items():
            if isinstance(held, Unit):
                yield from self.walk(held, paths[name])
            elif isinstance(held, dict):
                yield from self._below(held, paths[name])


def _put(tree: _Tree, path: str, held: Parameter | Unit) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        assert isinstance(below, dict), path
        tree = below
    tree[last] = held
