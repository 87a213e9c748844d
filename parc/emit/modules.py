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
from parc.ir.states import S, local_shape

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


def classes(stage: Stage, sizes: Mapping[str, int]) -> list[Class]:
    """`sizes` are those of the mesh's axes."""
    takes_mesh = _with_mesh(stage)
    below = [_class(unit, takes_mesh, None, sizes) for unit in stage.units]
    return [*below, _class(stage.root, takes_mesh, stage, sizes)]


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
    """The units whose constructor needs the mesh: for groups, buffers, counts of tokens, or such members."""
    found = {stage.root.name}
    for unit in stage.units:
        if unit.groups or unit.buffers or unit.experts or found.intersection(unit.members.values()):
            found.add(unit.name)
    return found


def _class(unit: Unit, takes_mesh: set[str], stage: Stage | None, sizes: Mapping[str, int]) -> Class:
    init = [f"        self.{axis} = mesh.get_group({json.dumps(axis)})" for axis in unit.groups]
    init += _members(unit, takes_mesh, sizes)
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


def _members(unit: Unit, takes_mesh: set[str], sizes: Mapping[str, int]) -> Iterator[str]:
    """Parameters and submodules as attributes, grouped by their path."""
    tree: dict[str, object] = {}
    for parameter in unit.parameters:
        _put(tree, parameter.path, _declaration(parameter, sizes))
    for path, name in unit.members.items():
        _put(tree, path, f"{name}(mesh)" if name in takes_mesh else f"{name}()")
    for name, value in tree.items():
        yield from wrapped(f"self.{name} = {_built(value)}", 8)


def _put(tree: dict[str, object], path: str, text: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})  # type: ignore[assignment]
    tree[last] = text


def _built(value: object) -> str:
    if isinstance(value, str):
        return value
    assert isinstance(value, dict)
    built = {name: _built(child) for name, child in value.items()}
    if all(name.isdigit() for name in built):
        return (
            f"nn.ModuleDict({{{', '.join(f'{json.dumps(name)}: {text}' for name, text in built.items())}}})"
        )
    return f"Weights({', '.join(f'{name}={text}' for name, text in built.items())})"


def _declaration(parameter: Parameter, sizes: Mapping[str, int]) -> str:
    states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
    local = ", ".join(map(str, local_shape(parameter.shape, states, sizes)))
    dtype = f", dtype={parameter.dtype}" if parameter.dtype != "torch.float32" else ""
    return f"nn.Parameter(torch.empty({local or '()'}{dtype}))"


def _layers(stage: Stage, takes_mesh: set[str]) -> Iterator[str]:
    runs = [(name, len(list(same))) for name, same in groupby(stage.layers)]
    if len(runs) == 1:
        name, count = runs[0]
        layer = f"{name}({'mesh' if name in takes_mesh else ''})"
        made = f"{{str(first_layer + i): {layer} for i in range({count})}}"
    else:
        kinds = " + ".join(_run(name, count, takes_mesh) for name, count in runs)
        made = f"{{str(first_layer + i): layer for i, layer in enumerate({kinds})}}"
    *parents, last = stage.layers_path.split(".")
    owner = "self"
    for parent in parents:
        owner += f".{parent}"
        yield f"        {owner} = nn.Module()"
    yield from wrapped(f"{owner}.{last} = nn.ModuleDict({made})", 8)


def _run(name: str, count: int, takes_mesh: set[str]) -> str:
    layer = f"{name}({'mesh' if name in takes_mesh else ''})"
    return f"[{layer}]" if count == 1 else f"[{layer} for _ in range({count})]"


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
