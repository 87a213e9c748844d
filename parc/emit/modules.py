"""Units as module classes."""

from __future__ import annotations

import ast
import json
import keyword
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from torch import nn

from parc.emit.pretty import WIDTH, signature, wrapped
from parc.ir.program import (
    Call,
    Collective,
    Compute,
    Event,
    Parameter,
    Program,
    Recv,
    Repeat,
    Send,
    Stage,
    Unit,
)
from parc.ir.runtime_names import RUNTIME

DOC = WIDTH - len('    """""".')  # characters of a line of a docstring


@dataclass(frozen=True)
class Class:
    """What the template of a stage needs of one unit."""

    name: str
    doc: list[str]
    signature: str  # of __init__
    init: list[str]
    head: list[str]  # of forward
    body: list[str]


def classes(stage: Stage) -> list[Class]:
    takes_mesh = _with_mesh(stage)
    return [_class(unit, takes_mesh, None) for unit in stage.units] + [_class(stage.root, takes_mesh, stage)]


def taken(program: Program) -> set[str]:
    """The axes whose groups, which are attributes of modules, would take the place of something else."""
    found: set[str] = set()
    for stage in program.stages:
        for unit in (*stage.units, stage.root):
            tensors = [each.path for each in unit.parameters] + [each.path for each in unit.buffers]
            lists = [stage.layers_path] if unit is stage.root else []
            own = {path.partition(".")[0] for path in (*tensors, *unit.members, *lists)}
            found |= {axis for axis in unit.groups if axis in own | _RESERVED or keyword.iskeyword(axis)}
    return found


_RESERVED = {*dir(nn.Module()), "load"}


def imports(text: str) -> dict[str, list[str]]:
    """The names of the runtime that a program text uses, by their module."""
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    found = {module: sorted(used.intersection(names), key=_import_order) for module, names in RUNTIME.items()}
    return {module: names for module, names in found.items() if names}


def names_used(text: str) -> set[str]:
    return {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}


def _import_order(name: str) -> tuple[bool, str]:
    return name[0].islower(), name


def _with_mesh(stage: Stage) -> set[str]:
    """The units whose constructor needs the mesh: for parameters, groups, buffers, or such members."""
    found = {stage.root.name}
    for unit in stage.units:
        if unit.parameters or unit.groups or unit.buffers or found.intersection(unit.members.values()):
            found.add(unit.name)
    return found


def _class(unit: Unit, takes_mesh: set[str], stage: Stage | None) -> Class:
    init = [f"        self.{axis} = mesh.get_group({json.dumps(axis)})" for axis in unit.groups]
    init += _members(unit, takes_mesh)
    if stage is not None:
        init += _layers(stage, takes_mesh)
    init += _buffers(unit)
    if unit.experts is not None:
        zeros = f"torch.zeros({unit.experts.count}, dtype=torch.int64, device=mesh.device_type)"
        init += wrapped(f'self.register_buffer("load", {zeros}, persistent=False)', 8)
    arguments = ["mesh: DeviceMesh"] if unit.name in takes_mesh else []
    if stage is not None:
        arguments.append("first_layer: int")
    tensor = "Tensor"
    returns = tensor if len(unit.results) == 1 else f"tuple[{', '.join([tensor] * len(unit.results))}]"
    head = signature("forward", ["self", *(f"{value.name}: Tensor" for value in unit.inputs)], returns, 4)
    return Class(unit.name, _doc(unit, stage), ", ".join(arguments), init, head, _forward(unit))


def _doc(unit: Unit, stage: Stage | None) -> list[str]:
    if stage is not None:
        count = len(stage.layers)
        layers = f"{count} layer{'s' if count > 1 else ''} of the model"
        return textwrap.wrap(f"{layers}, from number `first_layer` on{_ends(stage)}.", DOC)
    said = (unit.doc or "").strip().split("\n")[0].replace("\\", "/").replace('"', "'")
    stands = f"Stands for `{'.'.join('*' if part.isdigit() else part for part in unit.path.split('.'))}`."
    return [*textwrap.wrap(said, DOC), "", stands] if said else [stands]


def _ends(stage: Stage) -> str:
    before = (
        ", after the embedding" if any(p.path for p in stage.root.parameters) and not _receives(stage) else ""
    )
    return before + (", and the loss" if not any(isinstance(e, Send) for e in stage.root.events) else "")


def _receives(stage: Stage) -> bool:
    return any(isinstance(event, Recv) for event in stage.root.events)


def _members(unit: Unit, takes_mesh: set[str]) -> Iterator[str]:
    """Parameters and submodules as attributes, grouped by their path."""
    tree: dict[str, object] = {}
    stacks = {parameter.stack for parameter in unit.parameters if parameter.stack}
    for parameter in unit.parameters:
        _put(tree, parameter.path, _declaration(parameter))
    for path, name in unit.members.items():
        _put(tree, path, f"{name}(mesh)" if name in takes_mesh else f"{name}()")
    for name, value in tree.items():
        yield from wrapped(f"self.{name} = {_built(value, name, stacks)}", 8)


def _put(tree: dict[str, object], path: str, text: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})  # type: ignore[assignment]
    tree[last] = text


def _built(value: object, path: str, stacks: set[str]) -> str:
    if isinstance(value, str):
        return value
    assert isinstance(value, dict)
    built = {name: _built(child, f"{path}.{name}", stacks) for name, child in value.items()}
    if all(name.isdigit() for name in built):
        return (
            f"nn.ModuleDict({{{', '.join(f'{json.dumps(name)}: {text}' for name, text in built.items())}}})"
        )
    kind = "Stack" if path in stacks else "Weights"
    return f"{kind}({', '.join(f'{name}={text}' for name, text in built.items())})"


def _declaration(parameter: Parameter) -> str:
    arguments = ["mesh", str(parameter.shape)]
    if parameter.sharded:
        cuts = (
            f"{json.dumps(axis)}: {dim if blocks == 1 else (dim, blocks)}"
            for axis, (dim, blocks) in parameter.sharded.items()
        )
        arguments.append(f"{{{', '.join(cuts)}}}")
    arguments.append(f"init={_recipe(parameter.recipe)}")
    if parameter.experts:
        arguments.append("experts=True")
    if parameter.reduce:
        arguments.append(f"reduce={_tuple(parameter.reduce)}")
    if parameter.dtype != "torch.float32":
        arguments.append(f"dtype={parameter.dtype}")
    return f"parameter({', '.join(arguments)})"


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


def _layers(stage: Stage, takes_mesh: set[str]) -> Iterator[str]:
    runs = [(name, len(list(same))) for name, same in groupby(stage.layers)]
    if len(runs) == 1:
        name, count = runs[0]
        layer = f"{name}({'mesh' if name in takes_mesh else ''})"
        made = f"{{str(first_layer + i): {layer} for i in range({count})}}"
    else:
        kinds = " + ".join(f"[{name}]" + (f" * {count}" if count > 1 else "") for name, count in runs)
        made = f"{{str(first_layer + i): layer(mesh) for i, layer in enumerate({kinds})}}"
    *parents, last = stage.layers_path.split(".")
    owner = "self"
    for parent in parents:
        owner += f".{parent}"
        yield f"        {owner} = nn.Module()"
    yield from wrapped(f"{owner}.{last} = nn.ModuleDict({made})", 8)


def _buffers(unit: Unit) -> Iterator[str]:
    texts = [text for buffer in unit.buffers for text in (*buffer.statements, buffer.text)]
    if any("device=device" in text for text in texts):
        yield "        device = mesh.device_type"
    for buffer in unit.buffers:
        for statement in buffer.statements:
            yield from wrapped(statement, 8)
        *parents, last = buffer.path.split(".")
        owner = ".".join(["self", *parents])
        yield from wrapped(f"{owner}.register_buffer({json.dumps(last)}, {buffer.text}, persistent=False)", 8)


def _forward(unit: Unit) -> list[str]:
    events = [event for event in unit.events if not isinstance(event, (Send, Recv))]
    results = [value.name for value in unit.results]
    inlined: dict[str, str] = {}
    while events and isinstance(events[-1], Compute) and _returned(events[-1], results, inlined):
        event = events.pop()
        assert isinstance(event, Compute)
        inlined[event.results[0].name] = event.text
    lines = [line for event in events for line in _statement(event, 8)]
    if unit.experts is not None:
        lines.insert(1, "        self.load += route.load")
    return [*lines, *wrapped(f"return {', '.join(inlined.get(name, name) for name in results)}", 8)]


def _returned(event: Compute, results: Sequence[str], inlined: Mapping[str, str]) -> bool:
    """Whether a value is only returned, so that its expression can stand in the return statement."""
    if len(event.results) != 1:
        return False
    name = event.results[0].name
    reads = sum(name in names_used(text) for text in inlined.values())
    return results.count(name) == 1 and not reads and name not in inlined


def _statement(event: Event, indent: int) -> Iterator[str]:
    space = " " * indent
    if isinstance(event, Compute):
        yield from wrapped(f"{_bound(event)} = {event.text}", indent)
    elif isinstance(event, Call):
        names = ", ".join(value.name or "_" for value in event.results)
        yield from wrapped(f"{names} = {attribute(event.member)}({', '.join(event.operands)})", indent)
    elif isinstance(event, Collective):
        yield from wrapped(f"{event.result.name} = {_collective(event)}", indent)
    elif isinstance(event, Repeat):
        layers = f"{attribute(event.layers)}.values()"
        if (event.start, event.count) != (0, event.total):
            layers = f"list({layers})[{event.start}:{event.start + event.count}]"
        yield f"{space}for layer in {layers}:"
        for inner in event.body:
            yield from _statement(inner, indent + 4)


def _bound(event: Compute) -> str:
    return ", ".join(value.name for value in event.results)


def _collective(event: Collective) -> str:
    src = "" if event.src.partial else f", src={event.src}"  # reductions take nothing but partial sums
    return f"{event.verb}({event.operand.name}, self.{event.axis}{src}, dst={event.dst})"


def attribute(path: str) -> str:
    """The expression for an attribute path; numbered children live in a ModuleDict."""
    if path == "layer":
        return path
    text = "self"
    for part in path.split("."):
        text += f"[{json.dumps(part)}]" if part.isdigit() else f".{part}"
    return text
