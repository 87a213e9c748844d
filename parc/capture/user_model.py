"""The user's model, imported and built on the meta device."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn

from parc.capture.graph import lines_of
from parc.capture.initializers import Recipe, Recording, Unrecorded
from parc.capture.module_tree import Place, find_places, walk_modules
from parc.diagnostic import Diagnostic, Label, error
from parc.plan.blocks import Argument, Model
from parc.source import Source


class Faulty(Exception):
    """Building cannot go on: what there is to say about it."""

    def __init__(self, *diagnostics: Diagnostic) -> None:
        super().__init__(*(diagnostic.message for diagnostic in diagnostics))
        self.diagnostics = diagnostics


@dataclass(frozen=True)
class Loaded:
    """A model without data, and how each of its tensors begins."""

    model: nn.Module
    recipes: dict[str, Recipe]  # of parameters, by name
    buffers: dict[str, fx.Graph]


def factory(model: Model) -> Any:
    """What `source` names. Raises Faulty. Runs the user's module: building does, checking never."""
    place, _, name = model.source.rpartition(":")
    label = Label(model.at("source"), "named here")
    if not place or not name:
        raise Faulty(
            error("P501", f"`{model.source}` does not name a factory", label, help='write "file.py:Factory"')
        )
    file = Path(model.span.source.path).parent / place
    if place.endswith(".py") and not file.is_file():
        raise Faulty(error("P501", f"there is no file `{file}`", label))
    try:
        module = _from_file(file.resolve()) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as fault:
        raise Faulty(
            error("P501", f"importing `{place}` failed: {_said(fault)}", *guilty(fault), label)
        ) from fault
    if not hasattr(module, name):
        raise Faulty(error("P501", f"`{place}` has no `{name}`", label, help=_public(module)))
    return getattr(module, name)


def load(model: Model, dtype: torch.dtype) -> Loaded:
    """Build the model on the meta device, recording what its constructor does. Raises Faulty."""
    make = factory(model)
    recording = Recording()
    label = Label(model.at("source"), "built for this plan")
    arguments = {key: _plain(value) for key, value in model.arguments.items()}
    try:
        with torch.device("meta"), recording.recording():
            built = make(**arguments)
    except (Exception, SystemExit) as fault:
        where = Label(model.at("arguments"), "with these arguments")
        raise Faulty(
            error("P502", f"`{model.source}` cannot be built: {_said(fault)}", *guilty(fault), where)
        ) from fault
    if not isinstance(built, nn.Module):
        raise Faulty(
            error("P502", f"`{model.source}` returns `{type(built).__name__}`, not a torch.nn.Module", label)
        )
    tensors = [first for first, *_ in find_places(built).values()]
    recipes = _recipes(tensors, recording, label)
    buffers = {b.name: _graph(recording, b.name, b.tensor, label) for b in tensors if b.is_buffer}
    if any(place.tensor.is_floating_point() and place.tensor.dtype != dtype for place in tensors):
        built.to(dtype)
    if not all(module.training for _, module in walk_modules(built)):
        built.train()
    return Loaded(built, recipes, buffers)


def _recipes(tensors: Sequence[Place], recording: Recording, label: Label) -> dict[str, Recipe]:
    recipes, faults = {}, []
    for place in tensors:
        try:
            if not place.is_buffer:
                recipes[place.name] = recording.recipe(place.tensor)
        except Unrecorded as fault:
            message = f"`{place.name}` {fault}"
            faults.append(error("P503", message, label, help="fill it with a function of torch.nn.init"))
    if faults:
        raise Faulty(*faults)
    return recipes


def _graph(recording: Recording, name: str, buffer: torch.Tensor, label: Label) -> fx.Graph:
    try:
        return recording.computation(buffer)
    except Unrecorded as fault:
        raise Faulty(error("P503", f"buffer `{name}` {fault}", label)) from fault


def _from_file(path: Path) -> object:
    taken = path.stem in {*sys.stdlib_module_names, "torch", "parc"}
    name = f"model_{path.stem}" if taken else path.stem  # a model in `types.py` takes no other module's place
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look themselves up
    sys.path.insert(0, str(path.parent))  # for the modules beside it
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # building writes nothing but its folder
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(path.parent))
    return module


def _plain(value: Argument) -> object:
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _said(fault: BaseException) -> str:
    text = str(fault).strip().split("\n")[0]
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def _public(module: object) -> str:
    names = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, nn.Module)
    ]
    return "it has " + ", ".join(f"`{name}`" for name in names) if names else "it has no torch.nn.Module"


def guilty(fault: BaseException) -> tuple[Label, ...]:
    """The innermost line of the user's code in a traceback."""
    frames = [f for f in traceback.extract_tb(fault.__traceback__) if _is_users(f.filename)]
    if isinstance(fault, SyntaxError) and fault.filename and fault.lineno:
        return line_label(Path(fault.filename), fault.lineno, "here")
    return line_label(Path(frames[-1].filename), frames[-1].lineno or 1, "raised here") if frames else ()


def line_label(file: Path, number: int, text: str) -> tuple[Label, ...]:
    """A label on a whole line of a source file; none where it cannot be read."""
    try:
        source = Source(str(file), file.read_text())
        return (Label(source.make_line_span(number), text),)
    except (OSError, UnicodeDecodeError, IndexError):
        return ()


def _is_users(file: str) -> bool:
    own = str(Path(__file__).parent.parent)
    return not file.startswith(
        (own, str(Path(torch.__file__).parent), "<frozen", str(Path(importlib.__file__).parent))
    )


def source_text(model: Model) -> dict[str, bytes]:
    """The user's model as text, by file name; empty where it is a package's."""
    place, _, _ = model.source.rpartition(":")
    path = Path(model.span.source.path).parent / place
    return {path.name: path.read_bytes()} if place.endswith(".py") and path.is_file() else {}


def line_of(node: fx.Node | None) -> tuple[Label, ...]:
    """The user's line that an operation stands in."""
    lines = lines_of(node) if node is not None else []
    return line_label(lines[-1].file, lines[-1].number, "this operation") if lines else ()
