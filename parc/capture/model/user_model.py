"""The user's model, imported and built on the meta device."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, fx, nn
from torch.nn.parameter import is_lazy

from parc.capture.model.initial_values import find_initial_values
from parc.capture.model.kept_modules import (
    cast_around,
    find_kept_modules,
    find_wide_tensors,
    widen,
)
from parc.capture.model.recipes import Recipe, Unrecorded, derive_computation
from parc.capture.model.recording import Recording
from parc.capture.model.seeding import seed_constructor
from parc.capture.model.tree import TensorSlot, find_tensor_slots, walk_modules
from parc.capture.source_lines import label_class, label_fault, read_message
from parc.diagnostic import CompileError, Label, error
from parc.plan.blocks import Argument, Model


@dataclass(frozen=True)
class UserModel:
    """A model without data, and how each of its tensors begins."""

    module: nn.Module
    recipes: dict[str, Recipe]  # of parameters, by name
    unrecorded: dict[str, Unrecorded]  # why parameters are stored, by name
    buffers: dict[
        str, fx.Graph
    ]  # what computes them, by name; of those that are stored, what makes them empty
    unrecorded_buffers: dict[str, Unrecorded]  # why buffers are stored, by name
    kept_modules: tuple[str, ...]  # that compute in fp32, by path
    called: set[int]  # gets the ids of those that are called


MISSING_DATA = re.compile(r"meta tensor|no data|register_meta|local_scalar_dense|data.dependent")
MISSING_GPU = re.compile(r"CUDA|NVIDIA|HIP")


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
        module = (
            _import_file(file.resolve()) if place.endswith(".py") else _import_package(place, file.parent)
        )
    except (Exception, SystemExit) as fault:
        message, help = f"importing `{place}` failed: {_describe(fault)}", None
        if isinstance(fault, ModuleNotFoundError) and not place.endswith(".py"):
            help = (
                "a package is installed, or lies beside the plan; a file is written `folder/model.py:Model`"
            )
        raise CompileError(error("P501", message, *label_fault(fault), label, help=help)) from fault
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


def _check_arguments(factory: Callable[..., object], model: Model) -> None:
    """Raises CompileError where the arguments of the plan are not those that the factory takes."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # one that Python cannot describe
        return
    try:
        signature.bind(**list_arguments(model))
    except TypeError as fault:
        where = Label(model.at("arguments"), "these arguments")
        place = label_class(factory, "takes others") if isinstance(factory, type) else ()
        message = f"`{model.source}` cannot be called with the arguments of the plan: {read_message(fault)}"
        name = model.source.rpartition(":")[2]
        required = [each for each in signature.parameters.values() if each.default is each.empty]
        missing = [each for each in required if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        help = f"its arguments: {', '.join(f'`{each}`' for each in signature.parameters) or 'none'}"
        if [each.name for each in missing if each.name not in model.arguments] and len(missing) == 1:
            config = getattr(missing[0].annotation, "__name__", "") or str(missing[0].annotation)
            kind = config if config not in ("_empty", "int", "float", "str", "bool") else "Config"
            help = (
                f"if it takes one configuration, write a function that makes it, and name that in `source`: "
                f"`def build(**sizes): return {name}({kind}(**sizes))`"
            )
        labels = (where, *place) if "arguments" in model.spans else (*place, where)
        raise CompileError(error("P502", message, *labels, help=help)) from fault


def load_model(model: Model, dtype: torch.dtype, seed: int, kept: Sequence[str] = ()) -> UserModel:
    """Build the model on the meta device, recording what its constructor does. Raises CompileError.

    What the constructor draws of Python's and numpy's generators, which begin with `seed`, are numbers of it.
    The parameters named `kept` stay in fp32, with the modules that have them: raises PartlyKept.
    """
    factory = find_factory(model)
    _check_arguments(factory, model)
    recording = Recording()
    label = Label(model.at("source"), "built for this plan")
    try:
        with seed_constructor(seed), torch.device("meta"), recording.record():
            built = factory(**list_arguments(model))
    except (Exception, SystemExit) as fault:
        where = Label(model.at("arguments"), "with these arguments")
        message = f"`{model.source}` cannot be built: {_describe(fault)}"
        if MISSING_DATA.search(message):
            message = (
                f"the constructor of `{model.source}` reads values of a tensor, and it is built without data"
            )
        elif MISSING_GPU.search(message):
            message = f"the constructor of `{model.source}` moves to a GPU"
        help = "docs/models.md has what parc needs of a constructor, and `parc rule P502`"
        raise CompileError(error("P502", message, *label_fault(fault), where, help=help)) from fault
    if not isinstance(built, nn.Module):
        message = f"`{model.source}` returns `{type(built).__name__}`, not a torch.nn.Module"
        raise CompileError(error("P502", message, label))
    _refuse_lazy(built, label)
    places = find_tensor_slots(built)
    tensors = [first for first, *_ in places.values()]
    buffers, unrecorded = _derive_buffers(recording, [each for each in tensors if each.is_buffer])
    _refuse_shared(built, [each for each in places.values() if each[0].name in unrecorded], label)
    stored = [each for each in tensors if each.name in unrecorded]
    initial_values = find_initial_values(recording, [each for each in tensors if not each.is_buffer], stored)
    kept_modules = find_kept_modules(built, kept)
    wide = find_wide_tensors(built, kept_modules)
    if any(place.tensor.is_floating_point() and place.tensor.dtype != dtype for place in tensors):
        cast_model(built, dtype, wide)
    _start_training(built, label)
    _leave_data_out(built)
    called = cast_around(built, kept_modules, dtype)
    buffers |= {name: _make_empty(built.get_buffer(name)) for name in unrecorded}
    return UserModel(
        built,
        initial_values.recipes,
        initial_values.unrecorded,
        buffers,
        unrecorded,
        kept_modules,
        called,
    )


def _refuse_lazy(model: nn.Module, label: Label) -> None:
    """Raises CompileError where a tensor gets its shape in the first forward pass."""
    named = (*model.named_parameters(), *model.named_buffers())
    lazy = [name for name, tensor in named if is_lazy(tensor)]
    if lazy:
        message = f"`{lazy[0]}` has no shape before the first forward pass"
        holder = model.get_submodule(lazy[0].rpartition(".")[0].rpartition(".")[0])
        place = label_class(type(holder), "in this class") or label_class(type(model), "in this class")
        cure = "give the module its sizes: `nn.Linear(dim, inner)` in the place of `nn.LazyLinear(inner)`"
        raise CompileError(error("P502", message, *place, label, help=cure))


def _leave_data_out(model: nn.Module) -> None:
    """Lets tensors that the constructor has made of data, such as those of numpy, have none."""
    for places in find_tensor_slots(model).values():
        if not (first := places[0]).tensor.is_meta:
            empty = torch.empty_like(first.tensor, device="meta")
            for place in places:
                place.replace(empty if place.is_buffer else nn.Parameter(empty, first.tensor.requires_grad))


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
        holder = model.get_submodule(undone[0].rpartition(".")[0])
        raise CompileError(
            error("P505", message, *label_class(type(holder), "in this class"), label, help=cure)
        )


def cast_model(model: nn.Module, dtype: torch.dtype, wide: Container[int] = ()) -> nn.Module:
    """Casts parameters and buffers in place, complex ones to the complex type of the same precision.

    Those whose ids are in `wide` are cast to fp32, unless `dtype` is wider.
    """
    complex_dtype = torch.complex128 if dtype == torch.float64 else torch.complex64

    def cast(tensor: Tensor) -> Tensor:
        if tensor.is_complex():
            return tensor.to(complex_dtype)
        own = widen(dtype) if id(tensor) in wide else dtype
        return tensor.to(own) if tensor.is_floating_point() else tensor

    model._apply(cast)  # type: ignore[no-untyped-call]
    return model


def list_arguments(model: Model) -> dict[str, object]:
    """The arguments of the factory, lists as Python has them."""

    def to_plain(value: Argument) -> object:
        return [to_plain(item) for item in value] if isinstance(value, tuple) else value

    return {key: to_plain(value) for key, value in model.arguments.items()}


def _derive_buffers(
    recording: Recording, buffers: Sequence[TensorSlot]
) -> tuple[dict[str, fx.Graph], dict[str, Unrecorded]]:
    """What computes each buffer, by name; why others have values of the constructor."""
    found: dict[str, fx.Graph] = {}
    unrecorded: dict[str, Unrecorded] = {}
    for buffer in buffers:
        try:
            found[buffer.name] = derive_computation(recording, buffer.tensor)
        except Unrecorded as reason:
            unrecorded[buffer.name] = reason
    return found, unrecorded


def _refuse_shared(model: nn.Module, stored: Sequence[Sequence[TensorSlot]], label: Label) -> None:
    """Raises CompileError where several modules hold a buffer whose values are stored."""
    for first, *others in stored:
        if others:
            message = (
                f"`{first.name}` is also the buffer `{others[0].name}`, and its values are no computation"
            )
            place = label_class(type(others[0].module), "in this class") or label_class(type(model), "here")
            cure = "register it in the module that reads it, or give each module a copy: `buffer.clone()`"
            raise CompileError(error("P503", message, *place, label, help=cure))


def _make_empty(buffer: Tensor) -> fx.Graph:
    """The graph of a tensor whose values come later."""
    graph = fx.Graph()
    dtype = {} if buffer.dtype == torch.float32 else {"dtype": buffer.dtype}
    made = graph.call_function(
        torch.ops.aten.empty.memory_format, ([*buffer.shape],), {**dtype, "device": buffer.device}
    )
    made.meta["val"] = buffer
    graph.output((made,))
    return graph


def _import_package(place: str, folder: Path) -> object:
    """A module of an installed package, or of one beside the plan."""
    with _importing_from(folder.resolve()):
        return importlib.import_module(place)


def _import_file(path: Path) -> object:
    # a model in `types.py` does not replace the module of that name
    is_known = path.stem in {*sys.stdlib_module_names, "torch", "parc"}
    name = f"model_{path.stem}" if is_known else path.stem
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and the like look themselves up
    with _importing_from(path.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importing_from(folder: Path) -> Iterator[None]:
    """Within it modules of a folder are found, and nothing is written to the folder."""
    sys.path.insert(0, str(folder))
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))


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
