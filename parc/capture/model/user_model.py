"""The user's model, imported and built on the meta device."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn

from parc.capture.model.recipes import Recipe, Unrecorded, derive_computation, derive_recipe
from parc.capture.model.recording import Recording
from parc.capture.model.tree import Place, find_places, walk_modules
from parc.capture.source_lines import Frames, label_fault, label_frames, read_message
from parc.diagnostic import CompileError, Diagnostic, Label, error
from parc.plan.blocks import Argument, Model


@dataclass(frozen=True)
class UserModel:
    """A model without data, and how each of its tensors begins."""

    module: nn.Module
    recipes: dict[str, Recipe]  # of parameters, by name
    buffers: dict[str, fx.Graph]  # what computes them, by name


def find_factory(model: Model) -> Callable[..., object]:
    """What `source` names. Runs the user's Python module. Raises CompileError."""
    place, _, name = model.source.rpartition(":")
    label = Label(model.at("source"), "named here")
    if not place or not name:
        message = f"`{model.source}` does not name a factory"
        raise CompileError(error("P501", message, label, help='write "file.py:Factory"'))
    file = Path(model.span.source.path).parent / place
    if place.endswith(".py") and not file.is_file():
        raise CompileError(error("P501", f"there is no file `{file}`", label))
    try:
        module = _import_file(file.resolve()) if place.endswith(".py") else importlib.import_module(place)
    except (Exception, SystemExit) as fault:
        message = f"importing `{place}` failed: {_describe(fault)}"
        raise CompileError(error("P501", message, *label_fault(fault), label)) from fault
    if not hasattr(module, name):
        raise CompileError(error("P501", f"`{place}` has no `{name}`", label, help=_list_modules(module)))
    factory: Callable[..., object] = getattr(module, name)
    _check_factory(factory, model, label)
    return factory


def _check_factory(factory: object, model: Model, label: Label) -> None:
    """Raises CompileError where it is certain, before the call, that it returns no module."""
    returned = inspect.get_annotations(factory).get("return") if inspect.isfunction(factory) else None
    if not callable(factory):
        what = f"is `{type(factory).__name__}`, which cannot be called"
    elif isinstance(factory, type) and not issubclass(factory, nn.Module):
        what = "is a class, and no torch.nn.Module: it is not called"
    elif isinstance(returned, type) and not issubclass(returned, nn.Module):
        what = f"returns `{returned.__name__}`: it is not called"
    else:
        return
    help = "`source` names a class of modules, or a function that returns one"
    raise CompileError(error("P502", f"`{model.source}` {what}", label, help=help))


def load_model(model: Model, dtype: torch.dtype) -> UserModel:
    """Build the model on the meta device, recording what its constructor does. Raises CompileError."""
    factory = find_factory(model)
    recording = Recording()
    label = Label(model.at("source"), "built for this plan")
    try:
        with torch.device("meta"), recording.record():
            built = factory(**list_arguments(model))
    except (Exception, SystemExit) as fault:
        where = Label(model.at("arguments"), "with these arguments")
        message = f"`{model.source}` cannot be built: {_describe(fault)}"
        raise CompileError(error("P502", message, *label_fault(fault), where)) from fault
    if not isinstance(built, nn.Module):
        message = f"`{model.source}` returns `{type(built).__name__}`, not a torch.nn.Module"
        raise CompileError(error("P502", message, label))
    tensors = [first for first, *_ in find_places(built).values()]
    recipes = _derive_recipes(tensors, recording, label)
    buffers = {b.name: _derive_buffer(b, recording, label) for b in tensors if b.is_buffer}
    if any(place.tensor.is_floating_point() and place.tensor.dtype != dtype for place in tensors):
        cast_model(built, dtype)
    _start_training(built, label)
    return UserModel(built, recipes, buffers)


def _start_training(model: nn.Module, label: Label) -> None:
    """As a training loop does first. Raises CompileError where it undoes an `eval()` of the constructor."""
    resting = [(path, module) for path, module in walk_modules(model) if not module.training]
    if not resting:
        return
    is_whole = not model.training
    model.train()
    undone = [path for path, module in resting if module.training]
    if undone and not is_whole:
        listed = ", ".join(f"`{path}`" for path in undone[:4]) + ", .." * (len(undone) > 4)
        message = f"{listed} is set to `eval()` by the constructor, which `model.train()` undoes"
        cure = "override `train` of the class, so that it stays; or leave `eval()` out"
        raise CompileError(error("P505", message, label, help=cure))


def cast_model(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Casts parameters and buffers in place, complex ones to the complex type of the same precision."""
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(complex_dtype)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    model._apply(cast)  # type: ignore[no-untyped-call]
    return model


def list_arguments(model: Model) -> dict[str, object]:
    """The arguments of the factory, lists as Python has them."""

    def to_plain(value: Argument) -> object:
        return [to_plain(item) for item in value] if isinstance(value, tuple) else value

    return {key: to_plain(value) for key, value in model.arguments.items()}


def _derive_recipes(tensors: Sequence[Place], recording: Recording, label: Label) -> dict[str, Recipe]:
    recipes = {}
    faults: dict[tuple[str, Frames], list[str]] = defaultdict(list)  # the names, by what is wrong, and where
    for place in tensors:
        try:
            if not place.is_buffer:
                recipes[place.name] = derive_recipe(recording, place.tensor)
        except Unrecorded as fault:
            faults[str(fault), tuple(fault.frames)].append(place.name)
    if faults:
        found = (
            _report_unrecorded(names, fault, (*label_frames(frames), label))
            for (fault, frames), names in faults.items()
        )
        raise CompileError(*found)
    return recipes


def _report_unrecorded(names: Sequence[str], fault: str, labels: Sequence[Label]) -> Diagnostic:
    """One diagnostic for all parameters that have the same fault."""
    others = f" and {len(names) - 1} other parameters" if len(names) > 1 else ""
    notes = (f"the others: {', '.join(f'`{name}`' for name in names[1:9])}{', ..' * (len(names) > 9)}",)
    help = "fill it with a function of torch.nn.init"
    message = f"`{names[0]}`{others}: the initial value {fault}"
    return error("P503", message, *labels, notes=notes if others else (), help=help)


def _derive_buffer(buffer: Place, recording: Recording, label: Label) -> fx.Graph:
    try:
        return derive_computation(recording, buffer.tensor)
    except Unrecorded as fault:
        raise CompileError(error("P503", f"buffer `{buffer.name}` {fault}", label)) from fault


def _import_file(path: Path) -> object:
    # a model in `types.py` does not replace the module of that name
    is_known = path.stem in {*sys.stdlib_module_names, "torch", "parc"}
    name = f"model_{path.stem}" if is_known else path.stem
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


def _describe(fault: BaseException) -> str:
    """The type of an exception and the first line of its message."""
    text = read_message(fault).strip().split("\n")[0]
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def _list_modules(namespace: object) -> str:
    """The classes of modules that a Python module has, as a help text."""
    classes = {name: each for name, each in vars(namespace).items() if isinstance(each, type)}
    names = ", ".join(f"`{name}`" for name, each in classes.items() if issubclass(each, nn.Module))
    return f"it has {names}" if names else "it has no torch.nn.Module"


def read_sources(model: Model) -> dict[str, bytes]:
    """The user's model as text, by file name; empty where it is a package's."""
    place, _, _ = model.source.rpartition(":")
    path = Path(model.span.source.path).parent / place
    return {path.name: path.read_bytes()} if place.endswith(".py") and path.is_file() else {}
