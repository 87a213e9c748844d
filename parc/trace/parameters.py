"""The parameters and experts of a stage, in the order in which its modules hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TypeAlias

from parc.ir.program import Parameter, Stage, Unit

Tree: TypeAlias = "dict[str, Tree | Parameter | Unit]"


def iterate_parameters(stage: Stage) -> Iterator[Parameter]:
    """In the order of `named_parameters` of the emitted stage."""
    yield from (found for found in _Modules(stage).of(stage.root) if isinstance(found, Parameter))


def iterate_expert_units(stage: Stage) -> Iterator[Unit]:
    """The units of experts, in the order of `modules` of the emitted stage."""
    found = (each for each in _Modules(stage).of(stage.root) if isinstance(each, Unit))
    yield from (unit for unit in found if unit.experts is not None)


def count_local_elements(parameter: Parameter, sizes: Mapping[str, int]) -> int:
    """Elements of a parameter on one rank."""
    return prod(parameter.shape) // prod(sizes[axis] for axis in parameter.sharded)


class _Modules:
    """A module gives itself, its own parameters, then its children, each in the order of its constructor."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.units = {unit.name: unit for unit in stage.units}

    def of(self, unit: Unit) -> Iterator[Parameter | Unit]:
        yield unit
        tree: Tree = {}
        for parameter in unit.parameters:
            _put(tree, parameter.path, parameter)
        for path, name in unit.members.items():
            _put(tree, path, self.units[name])
        if unit is self.stage.root:
            for number, name in enumerate(self.stage.layers):
                _put(tree, f"{self.stage.layers_path}.{number}", self.units[name])
        yield from self._below(tree)

    def _below(self, tree: Tree) -> Iterator[Parameter | Unit]:
        yield from (held for held in tree.values() if isinstance(held, Parameter))
        for held in tree.values():
            if isinstance(held, Unit):
                yield from self.of(held)
            elif isinstance(held, dict):
                yield from self._below(held)


def _put(tree: Tree, path: str, held: Parameter | Unit) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        below = tree.setdefault(parent, {})
        assert isinstance(below, dict), path
        tree = below
    tree[last] = held


def bucket_gradients(
    parameters: Iterable[Parameter], sizes: Mapping[str, int], most: int
) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """(axes, dtype, elements) of each sum of gradients: those over the same axes together, up to `most`."""
    pending: dict[tuple[tuple[str, ...], str], list[int]] = defaultdict(list)
    for parameter in parameters:
        if axes := tuple(axis for axis in sorted(parameter.reduce) if sizes[axis] > 1):
            pending[axes, parameter.dtype].append(count_local_elements(parameter, sizes))
    for (axes, dtype), counts in pending.items():
        held = 0
        for count in counts:
            if held and held + count > most:
                yield axes, dtype, held
                held = 0
            held += count
        yield axes, dtype, held
