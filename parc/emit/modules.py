"""The modules of Python that hold a program's classes: one of the model, and one for every distinct stage."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence

from torch import nn

from parc.emit.declarations import write_init
from parc.emit.forward import write_forward
from parc.emit.placements import build_placement_table
from parc.emit.pretty import WIDTH
from parc.emit.trees import docstring, function, import_from
from parc.ir.expression import expr, item, list_names, literal, name
from parc.ir.program import Program, Recv, Send, Stage, Unit
from parc.ir.runtime_names import RUNTIME, TOKEN_COUNTS
from parc.plan.mesh import identify_group

DOC = WIDTH - len('    """""".')  # characters of a line of a docstring


def build_model_module(program: Program, title: str, sizes: Mapping[str, int]) -> ast.Module:
    """The table of placements, and every class of the model once, callees first; `title` is its docstring.

    `sizes` are those of the mesh's axes.
    """
    units = _list_distinct_units(program.stages)
    takes_mesh = _find_units_with_mesh(units)
    classes = [_build_class(unit, takes_mesh, None, sizes) for unit in units]
    body = [*build_placement_table(program), *classes]
    return ast.Module([docstring(title), *_build_imports(list_names(body)), *body], [])


def build_stage_module(stage: Stage, title: str, sizes: Mapping[str, int]) -> ast.Module:
    """The module of a stage, which says what parts of the model the stage has; `title` is its docstring."""
    root = _build_class(stage.root, _find_units_with_mesh(stage.units), stage, sizes)
    used = list_names([root])
    parts = {unit.name for unit in stage.units}.intersection(used)
    return ast.Module([docstring(title), *_build_imports(used, parts), root], [])


def _list_distinct_units(stages: Sequence[Stage]) -> list[Unit]:
    """The units of all stages, callees first."""
    return list({unit.name: unit for stage in stages for unit in stage.units}.values())


def find_clashing_groups(program: Program, axes: Sequence[str], pipeline: str | None = None) -> set[str]:
    """The groups that would take the place of something else: of an attribute of a module, or of an axis.

    `axes` are those of the mesh, whose names the groups over several axes must not have; nor has the group
    `pipeline`, which is no attribute.
    """
    found: set[str] = set()
    known = {axis: axis for axis in axes}  # groups, by the names of their attributes
    if pipeline is not None and known.setdefault(identify_group(pipeline), pipeline) != pipeline:
        found.add(pipeline)
    for stage in program.stages:
        for unit in (*stage.units, stage.root):
            tensors = [each.path for each in unit.parameters] + [each.path for each in unit.buffers]
            lists = [stage.layers_path] if unit is stage.root else []
            own = {path.partition(".")[0] for path in (*tensors, *unit.members, *lists, *unit.numbers)}
            for group in unit.groups:
                attr = identify_group(group)
                if attr in own | _RESERVED or known.setdefault(attr, group) != group:
                    found.add(group)
    return found


_RESERVED = {*dir(nn.Module()), TOKEN_COUNTS}


def _build_imports(used: Collection[str], parts: Collection[str] = ()) -> Iterator[ast.stmt]:
    """The imports of a file that uses these names, and these classes of the model."""
    yield import_from("__future__", ["annotations"])
    if "torch" in used:
        yield ast.Import([ast.alias("torch")])
    if "F" in used:
        yield ast.Import([ast.alias("torch.nn.functional", "F")])
    yield import_from("torch", ["Tensor", "nn"])
    if "DeviceMesh" in used:
        yield import_from("torch.distributed.device_mesh", ["DeviceMesh"])
    if parts:
        yield import_from("model", sorted(parts, key=_order_import))
    for module, names in sorted(RUNTIME.items()):
        if found := sorted(set(names).intersection(used), key=_order_import):
            yield import_from(f"runtime.{module}", found)


def _order_import(identifier: str) -> tuple[bool, bool, str]:
    """Constants, classes, functions."""
    return not identifier.isupper(), identifier[0].islower(), identifier


def _find_units_with_mesh(units: Sequence[Unit]) -> set[str]:
    """The units whose constructor needs the mesh: for groups, buffers, counts of tokens, or such members."""
    found: set[str] = set()
    for unit in units:
        if unit.groups or unit.buffers or unit.experts or found.intersection(unit.members.values()):
            found.add(unit.name)
    return found


def _build_class(
    unit: Unit, takes_mesh: Collection[str], stage: Stage | None, sizes: Mapping[str, int]
) -> ast.ClassDef:
    body: list[ast.stmt] = [docstring(_describe_unit(unit, stage))]
    declared = list(write_init(unit, takes_mesh, stage, sizes))
    with_mesh = stage is not None or unit.name in takes_mesh
    parameters = {"self": None} | ({"mesh": name("DeviceMesh")} if with_mesh else {})
    if stage is not None:
        parameters["first_layer"] = name("int")
    if declared:
        begun: list[ast.stmt] = [ast.Expr(expr("super().__init__()"))]
        body.append(function("__init__", parameters, literal(None), begun + declared))
    tensors = [name("Tensor")] * len(unit.results)
    returns = tensors[0] if len(tensors) == 1 else item(name("tuple"), *tensors)
    inputs = {"self": None} | {value.name: name("Tensor") for value in unit.inputs}
    body.append(function("forward", inputs, returns, write_forward(unit)))
    return ast.ClassDef(unit.name, [expr("nn.Module")], [], body, [])


def _describe_unit(unit: Unit, stage: Stage | None) -> str:
    if stage is not None:
        return _wrap(_describe_stage(stage))
    said = (unit.doc or "").strip().split("\n")[0].replace("\\", "/").replace('"', "'")
    place = f"`{'.'.join('*' if part.isdigit() else part for part in unit.path.split('.'))}` of the model."
    return f"{_wrap(said)}\n\n{place}" if said else place


def _wrap(text: str) -> str:
    return "\n".join(textwrap.wrap(text, DOC))


def _describe_stage(stage: Stage) -> str:
    """`The embedding, 4 layers from number `first_layer` on, and the loss.`"""
    receives = any(isinstance(event, Recv) for event in stage.root.events)
    sends = any(isinstance(event, Send) for event in stage.root.events)
    count = len(stage.layers)
    embedding = ["the embedding"] if stage.root.parameters and not receives else []
    number = f"{count} layers" if count else "the layers"  # those of torch's own are not counted
    layers = "layer `first_layer`" if count == 1 else f"{number} from number `first_layer` on"
    text = " and ".join([*embedding, layers]) if sends else ", ".join([*embedding, layers, "and the loss"])
    return f"{text[0].upper()}{text[1:]}."
