"""The table of placements: an entry stands for the parameters that differ in their layer alone."""

from __future__ import annotations

import ast
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from parc.emit.trees import assign
from parc.ir.expression import call, literal, name
from parc.ir.parameters import find_recipe, named_parameters
from parc.ir.program import Parameter, Program, Recipe

_Entry: TypeAlias = tuple[Parameter, Recipe]


def build_placement_table(program: Program) -> list[ast.stmt]:
    """`PLACEMENTS = ..`, of all stages, after the initial values that several parameters have."""
    entries = dict(_list_entries(program))
    names = _name_recipes([recipe for _, recipe in entries.values()])
    constants = [assign(name(names[recipe]), _build_recipe(recipe)) for recipe in names]
    rule = _choose_rule([parameter for parameter, _ in entries.values()])
    table = literal({key: _build_placement(key, *entry, names, rule) for key, entry in entries.items()})
    if rule:
        table = call("declare_placements", reduce=literal(rule), parameters=table)
    return [*constants, assign(name("PLACEMENTS"), table)]


def _name_recipes(recipes: Sequence[Recipe]) -> dict[Recipe, str]:
    """Names of constants for the initial values that stand in several entries, but for plain constants."""
    named: dict[Recipe, str] = {}
    kinds: Counter[str] = Counter()
    for recipe, count in Counter(recipes).items():
        kind = _INITIAL_VALUES.get(str(recipe[0][0]))
        if count > 1 and kind not in (None, "constant"):
            kinds[kind] += 1
            named[recipe] = f"{kind.upper()}_{kinds[kind]}" if kinds[kind] > 1 else kind.upper()
    return named


def _choose_rule(parameters: Sequence[Parameter]) -> tuple[str, ...]:
    """The axes that most gradients are summed over, but for those that shard the parameter."""
    counts = Counter(parameter.reduce for parameter in parameters)
    return max(counts, key=lambda axes: sum(_follows(each, axes) for each in parameters), default=())


def _follows(parameter: Parameter, rule: Sequence[str]) -> bool:
    return parameter.reduce == tuple(axis for axis in rule if axis not in parameter.sharded)


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


def _build_placement(
    key: str, parameter: Parameter, recipe: Recipe, names: Mapping[Recipe, str], rule: Sequence[str]
) -> ast.expr:
    cuts = {axis: dim if blocks == 1 else (dim, blocks) for axis, (dim, blocks) in parameter.sharded.items()}
    keywords = {"init": name(names[recipe]) if recipe in names else _build_recipe(recipe)}
    if not _follows(parameter, rule):
        keywords["reduce"] = literal(parameter.reduce)
    if parameter.experts:
        keywords["experts"] = literal(True)
    if parameter.stack is not None:
        keywords["stack"] = literal((key.removesuffix(parameter.path) + parameter.stack).removesuffix("."))
    if parameter.keep_fp32:
        keywords["keep_fp32"] = literal(True)
    sharded = [literal(cuts)] if cuts else []
    return call("Placement", literal(parameter.shape), *sharded, **keywords)


def _build_recipe(recipe: Recipe) -> ast.expr:
    """By the names of functions of the runtime where there are some."""
    if recipe[0][0] == "stored":
        return call("stored")
    if recipe[0][0] == "draw_as":
        return call("drawn_as", literal(recipe[0][1]), _build_recipe(recipe[1:]))
    (function, *arguments), *changes = recipe
    if function not in _INITIAL_VALUES or any(change[0] not in _CHANGES for change in changes):
        return literal(tuple(map(tuple, recipe)))
    tree = _build_initial_value(_INITIAL_VALUES[str(function)], arguments)
    for change, *values in changes:
        tree = call(_CHANGES[str(change)], tree, *map(literal, values))
    return tree


def _build_initial_value(function: str, arguments: Sequence[str | float]) -> ast.expr:
    """Of a normal distribution, whose mean is mostly 0, what differs from the default by its name."""
    if not function.endswith("normal"):
        return call(function, *map(literal, arguments or [0.0]))
    defaults = {"mean": 0.0, "std": None, "low": -2.0, "high": 2.0}
    given = zip(defaults.items(), arguments, strict=False)
    return call(function, **{key: literal(value) for (key, usual), value in given if value != usual})


_INITIAL_VALUES = {
    "normal_": "normal",
    "uniform_": "uniform",
    "trunc_normal_": "trunc_normal",
    "fill_": "constant",
    "zero_": "constant",
}
_CHANGES = {"mul_": "scaled", "row_zero": "with_zero_row"}
