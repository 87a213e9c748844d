"""The table of placements of a stage: an entry stands for the parameters that differ in their layer alone."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from parc.emit.pretty import wrapped
from parc.ir.parameters import named_parameters
from parc.ir.program import Parameter, Stage


def placement_table(stage: Stage) -> list[str]:
    """The lines of `PLACEMENTS = {..}`."""
    entries = [f"{json.dumps(key)}: {_placement(key, parameter)}" for key, parameter in _entries(stage)]
    return wrapped(f"PLACEMENTS = {{{', '.join(entries)}}}", 0)


def _entries(stage: Stage) -> Iterator[tuple[str, Parameter]]:
    """Keys of the table, in the order of the modules."""
    layers = f"{stage.layers_path}."
    for of_layers, run in groupby(named_parameters(stage), lambda named: named[0].startswith(layers)):
        if not of_layers:
            yield from run
            continue
        by_path: dict[str, dict[int, Parameter]] = defaultdict(dict)
        for path, parameter in run:
            number, _, below = path.removeprefix(layers).partition(".")
            by_path[below][int(number)] = parameter
        for below, numbered in by_path.items():
            yield from ((f"{layers}{numbers}.{below}", each) for numbers, each in _alike(numbered))


def _alike(numbered: Mapping[int, Parameter]) -> Iterator[tuple[str, Parameter]]:
    """Parameters that differ, and the layers that have each: `*` where all have the same."""
    groups: list[tuple[Parameter, list[int]]] = []
    for number, parameter in numbered.items():
        same = next((numbers for each, numbers in groups if each == parameter), None)
        if same is None:
            groups.append((parameter, [number]))
        else:
            same.append(number)
    for parameter, numbers in groups:
        yield "*" if len(groups) == 1 else _ranges(numbers), parameter


def _ranges(numbers: Sequence[int]) -> str:
    """`0-2,5`, of numbers in order."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _placement(key: str, parameter: Parameter) -> str:
    arguments = [str(parameter.shape)]
    if parameter.sharded:
        cuts = (
            f"{json.dumps(axis)}: {dim if blocks == 1 else (dim, blocks)}"
            for axis, (dim, blocks) in parameter.sharded.items()
        )
        arguments.append(f"{{{', '.join(cuts)}}}")
    arguments.append(f"init={_recipe(parameter.recipe)}")
    if parameter.reduce:
        arguments.append(f"reduce={_tuple(parameter.reduce)}")
    if parameter.experts:
        arguments.append("experts=True")
    if parameter.stack:
        arguments.append(f"stack={json.dumps(key.removesuffix(parameter.path) + parameter.stack)}")
    return f"Placement({', '.join(arguments)})"


def _recipe(recipe: Sequence[Sequence[str | float]]) -> str:
    """By the name of a function of the runtime where there is one."""
    call, *arguments = recipe[0]
    if len(recipe) == 1 and call in _BEGINNINGS:
        return f"{_BEGINNINGS[call]}({', '.join(map(repr, arguments or [0.0]))})"
    return "(" + ", ".join(_tuple(call) for call in recipe) + ("," if len(recipe) == 1 else "") + ")"


_BEGINNINGS = {
    "normal_": "normal",
    "uniform_": "uniform",
    "trunc_normal_": "trunc_normal",
    "fill_": "constant",
    "zero_": "constant",
}


def _tuple(items: Sequence[str | float]) -> str:
    inside = ", ".join(json.dumps(item) if isinstance(item, str) else repr(item) for item in items)
    return f"({inside},)" if len(items) == 1 else f"({inside})"
