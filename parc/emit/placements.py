"""The table of placements: an entry stands for the parameters that differ in their layer alone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from parc.emit.trees import assign
from parc.ir.expression import call, literal, name
from parc.ir.parameters import find_recipe, named_parameters
from parc.ir.program import Parameter, Program, Recipe

_Entry: TypeAlias = tuple[Parameter, Recipe]


def build_placement_table(program: Program) -> ast.stmt:
    """`PLACEMENTS = {..}`, of the parameters of all stages."""
    entries = {key: _build_placement(key, *entry) for key, entry in _list_entries(program)}
    return assign(name("PLACEMENTS"), literal(entries))


def _list_entries(program: Program) -> Iterator[tuple[str, _Entry]]:
    """Keys of the table, in the order of the modules."""
    layers = f"{program.stages[0].layers_path}."
    named = (each for stage in program.stages for each in named_parameters(stage))
    found: dict[str, dict[int | None, _Entry]] = defaultdict(dict)  # by path, `*` for the layer's number
    for path, parameter in named:
        entry = parameter, find_recipe(program.recipes, path, parameter)
        number, _, below = path.removeprefix(layers).partition(".")
        if path.startswith(layers) and number.isdigit():
            found[f"{layers}*.{below}"][int(number)] = entry
        else:
            found[path][None] = entry
    for path, numbered in found.items():
        if None in numbered:
            yield path, numbered[None]
            continue
        in_layers = {number: each for number, each in numbered.items() if number is not None}
        below = path.removeprefix(f"{layers}*.")
        yield from ((f"{layers}{numbers}.{below}", each) for numbers, each in _group_alike(in_layers))


def _group_alike(numbered: Mapping[int, _Entry]) -> Iterator[tuple[str, _Entry]]:
    """Entries that differ, and the layers that have each: `*` where all have the same."""
    groups: list[tuple[_Entry, list[int]]] = []
    for number, entry in numbered.items():
        same = next((numbers for each, numbers in groups if each == entry), None)
        if same is None:
            groups.append((entry, [number]))
        else:
            same.append(number)
    for entry, numbers in groups:
        yield "*" if len(groups) == 1 else _format_ranges(numbers), entry


def _format_ranges(numbers: Sequence[int]) -> str:
    """`0-2,5`, of numbers in order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _build_placement(key: str, parameter: Parameter, recipe: Recipe) -> ast.expr:
    cuts = {axis: dim if blocks == 1 else (dim, blocks) for axis, (dim, blocks) in parameter.sharded.items()}
    keywords = {"init": _build_recipe(recipe)}
    if parameter.reduce:
        keywords["reduce"] = literal(parameter.reduce)
    if parameter.experts:
        keywords["experts"] = literal(True)
    if parameter.stack:
        keywords["stack"] = literal(key.removesuffix(parameter.path) + parameter.stack)
    sharded = [literal(cuts)] if cuts else []
    return call("Placement", literal(parameter.shape), *sharded, **keywords)


def _build_recipe(recipe: Recipe) -> ast.expr:
    """By the name of a function of the runtime where there is one."""
    function, *arguments = recipe[0]
    if len(recipe) == 1 and function in _BEGINNINGS:
        return call(_BEGINNINGS[str(function)], *map(literal, arguments or [0.0]))
    return literal(tuple(map(tuple, recipe)))


_BEGINNINGS = {
    "normal_": "normal",
    "uniform_": "uniform",
    "trunc_normal_": "trunc_normal",
    "fill_": "constant",
    "zero_": "constant",
}
