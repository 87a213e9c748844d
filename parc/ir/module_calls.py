"""The modules that a stage calls: those that ranks gather, and reduce the gradients of, one after the other.

They are the layers, and whatever else a stage calls once: an embedding, a norm, a head. A parameter that the
stage itself reads, or that lies in a module which it calls more than once, is the stage's own.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from parc.ir.expression import get_attribute_path
from parc.ir.forward_sites import ForwardSite, Sites
from parc.ir.parameters import find_layer, named_parameters
from parc.ir.program import Call, Event, Program, Repeat, Stage
from parc.ir.received import FLOATS
from parc.ir.walk import flatten, list_event_expressions

EMBEDDINGS = ("nn.Embedding(", "VocabEmbedding(")


class ModuleCall(NamedTuple):
    """What a stage does in its forward pass: a call of a sharded module, or what it does itself."""

    module: str  # its path; empty for the stage itself
    sites: tuple[ForwardSite, ...]
    looks_up: bool = False  # whether it is an embedding, of tokens: its gradient needs no parameters


def list_module_calls(stage: Stage) -> list[ModuleCall]:
    """The forward pass of a stage, in order."""
    sharded = find_sharded_modules(stage)
    return [
        each if each.module in sharded else each._replace(module="", looks_up=False)
        for each in _list_all_calls(stage)
    ]


def find_sharded_modules(stage: Stage) -> tuple[str, ...]:
    """The paths of the modules with parameters that the stage does not read, and that it calls once."""
    read = set(_list_read_parameters(stage))
    holders: dict[str, set[str]] = {}  # the parameters of each module that is called
    calls = Counter(each.module for each in _list_all_calls(stage))
    for path, _ in named_parameters(stage):
        module, *inner = [*_list_holders(path, calls), ""]
        holders.setdefault(module, set()).add(path)
        if any(inner):  # a module inside is called by the stage as well
            read.add(path)
    once = (each for each, count in calls.items() if each and count == 1)
    return tuple(each for each in once if each in holders and not holders[each] & read)


def assign_parameters(stage: Stage) -> dict[str, str]:
    """The sharded module of each parameter, by their paths; empty for what is the stage's own."""
    sharded = set(find_sharded_modules(stage))
    return {path: next(_list_holders(path, sharded), "") for path, _ in named_parameters(stage)}


def list_module_paths(program: Program) -> tuple[str, ...]:
    """The sharded modules of all stages; `*` stands for the number of a layer."""
    paths: dict[str, None] = {}
    for stage in program.stages:
        for module in find_sharded_modules(stage):
            paths[module if find_layer(stage, module) is None else f"{stage.layers_path}.*"] = None
    return tuple(paths)


def _list_holders(path: str, modules: Container[str]) -> Iterator[str]:
    """The modules, of some, that have the parameter at `path`, the outermost first."""
    parts = path.split(".")
    above = (".".join(parts[:depth]) for depth in range(1, len(parts)))
    return (module for module in above if module in modules)


def _list_read_parameters(stage: Stage) -> Iterator[str]:
    """The parameters that the stage itself reads."""
    own = {path for path, _ in named_parameters(stage)}
    for expression in _list_expressions(stage):
        for node in ast.walk(expression):
            if isinstance(node, ast.Attribute) and (path := get_attribute_path(node)) in own:
                yield path


def _list_expressions(stage: Stage) -> Iterator[ast.expr]:
    for event in flatten(stage.root.events):
        yield from (each.tree for each in list_event_expressions(event))
    yield from (result.expression.tree for result in stage.root.results)


def _list_all_calls(stage: Stage) -> Iterator[ModuleCall]:
    """Calls of all modules, sharded or not, and what the stage does between them."""
    sites = Sites(stage)
    for event, layer in _unroll(stage.root.events, stage.first_layer):
        inside = [*sites.visit(stage.root, "", (event,), layer)]
        for expression in list_event_expressions(event):
            yield from _list_calls_in_expression(stage, expression.tree, inside)
        if isinstance(event, Call) and any(each.dtype.startswith(FLOATS) for each in event.operands):
            member = event.member if event.member != "layer" else f"{stage.layers_path}.{layer}"
            yield ModuleCall(member, tuple(inside))
        else:
            yield ModuleCall("", tuple(inside))
    for result in stage.root.results:
        yield from _list_calls_in_expression(stage, result.expression.tree, [])


def _list_calls_in_expression(
    stage: Stage, tree: ast.expr, inside: list[ForwardSite]
) -> Iterator[ModuleCall]:
    """In the order of evaluation. A layer that makes a sum takes the first of the collectives `inside`."""
    for node in _list_in_order(tree):
        if isinstance(node, ast.Call) and (path := get_attribute_path(node.func)) in stage.root.layers:
            constructor = stage.root.layers[path].source
            own = [inside.pop(0)] if inside and "dst=" in constructor else []
            yield ModuleCall(path, tuple(own), constructor.startswith(EMBEDDINGS))


def _list_in_order(tree: ast.AST) -> Iterator[ast.AST]:
    """An expression after those that it consists of."""
    for child in ast.iter_child_nodes(tree):
        yield from _list_in_order(child)
    yield tree


def _unroll(events: Iterable[Event], layer: int) -> Iterator[tuple[Event, int]]:
    """Events with the number of their layer; those of a loop once for each repetition."""
    for event in events:
        if isinstance(event, Repeat):
            for number in range(event.start, event.start + event.count):
                yield from _unroll(event.body, layer + number)
        else:
            yield event, layer
