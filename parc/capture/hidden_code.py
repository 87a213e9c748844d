"""Code of the user's that runs beside the graph of `forward`, and that a program would lose.

Hooks are found on the modules and parameters. What else there is (autograd functions with a backward pass of
their own, checkpointing, modes of autograd and of autocast, hooks on tensors) is noted while `forward` runs.
"""

from __future__ import annotations

import functools
import inspect
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.amp.autocast_mode import autocast
from torch.autograd.graph import saved_tensors_hooks
from torch.jit import ScriptModule

from parc.capture.model.tree import list_own_attributes, walk_modules
from parc.capture.source_lines import Line, is_users_file, list_frames


class HiddenCode(NamedTuple):
    """Code that the graph does not hold: what it is, what to do instead, and the user's line."""

    what: str
    cure: str
    line: Line | None


_MODULE_HOOKS = {
    "_forward_hooks": "a forward hook",
    "_forward_pre_hooks": "a forward hook",
    "_backward_hooks": "a backward hook",
    "_backward_pre_hooks": "a backward hook",
}
_GLOBAL_HOOKS = (
    *("_global_forward_hooks", "_global_forward_pre_hooks"),
    *("_global_backward_hooks", "_global_backward_pre_hooks"),
)
_PARAMETER_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_PLAIN = "leave `torch.compile` out: what is compiled is the program"
_UNSCRIPTED = "use the module itself, without `torch.jit`"
_IN_FORWARD = "write what the hook does into `forward`"
_IN_CALL = "write what it does into `forward`"
_IN_LOSS = "add a term to the loss that has this gradient, in `forward`"


def find_hooks(model: nn.Module) -> Iterator[HiddenCode]:
    """The hooks on modules and parameters of a model and its compiled functions, each once."""
    seen = set()
    for hook, what, cure in _list_code(model):
        line = _find_definition(hook)
        if (line or id(hook)) not in seen:
            seen.add(line or id(hook))
            yield HiddenCode(what, cure, line)


def _list_code(model: nn.Module) -> Iterator[tuple[Callable[..., Any], str, str]]:
    """Every hook and other code that no graph holds, what it is, and what to do instead."""
    for registry in _GLOBAL_HOOKS:
        for hook in vars(torch.nn.modules.module)[registry].values():
            yield hook, "a hook on all modules", _IN_FORWARD
    if isinstance(model, ScriptModule):
        yield type(model).__init__, "the model, which is TorchScript,", _UNSCRIPTED
    kinds: set[type] = set()  # whose names are read already
    for path, module in walk_modules(model):
        if not isinstance(module, ScriptModule):
            yield from _list_code_of(path, module)
            for name, function in _list_compiled(module, kinds):
                yield function, f"`{name}`, which is compiled,", _PLAIN


def _list_code_of(path: str, module: nn.Module) -> Iterator[tuple[Callable[..., Any], str, str]]:
    """The hooks of one module and of its parameters, and its children that are scripted."""
    attributes, prefix = vars(module), f"{path}." if path else ""
    if is_users_file(type(module).__call__.__code__.co_filename):
        yield type(module).__call__, f"`__call__` of `{type(module).__name__}`", _IN_CALL
    for attribute, kind in _MODULE_HOOKS.items():
        for hook in attributes[attribute].values():
            yield hook, f"{kind} on `{path or 'the model'}`", _IN_FORWARD
    for name, child in module._modules.items():
        if isinstance(child, ScriptModule):
            yield type(module).__init__, f"`{prefix}{name}`, which is TorchScript,", _UNSCRIPTED
    for name, parameter in module._parameters.items():
        for attribute in _PARAMETER_HOOKS:
            for hook in (getattr(parameter, attribute, None) or {}).values():
                yield hook, f"a hook on `{prefix}{name}`", _IN_LOSS


def _list_compiled(module: nn.Module, kinds: set[type]) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The compiled functions of a module: its own, its class's, and those beside it that its methods name.

    The last two are listed for the first module of each class, which is added to `kinds`.
    """
    if "_orig_mod" in module._modules or module._compiled_call_impl is not None:
        yield type(getattr(module, "_orig_mod", module)).__name__, type(module).forward
    kind = type(module)
    held = {name: vars(module)[name] for name in list_own_attributes(module)}
    if kind not in kinds:
        kinds.add(kind)
        held |= {**_find_named_beside(kind), **vars(kind)}
    for name, value in held.items():
        if isinstance(value, FunctionType) and "_torchdynamo_orig_callable" in vars(value):
            yield name, vars(value)["_torchdynamo_orig_callable"]


def _find_named_beside(kind: type) -> dict[str, Any]:
    """What the methods of a user's class name of the Python module that it lies in."""
    if kind.__module__.startswith("torch.") or kind.__module__ not in sys.modules:
        return {}
    beside = vars(sys.modules[kind.__module__])
    methods = [inspect.unwrap(each).__code__ for each in vars(kind).values() if inspect.isfunction(each)]
    return {name: beside[name] for code in methods for name in code.co_names if name in beside}


def _find_definition(function: Callable[..., Any]) -> Line | None:
    plain = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
    code = getattr(plain, "__code__", None)
    return (
        Line(Path(code.co_filename), code.co_firstlineno)
        if code and is_users_file(code.co_filename)
        else None
    )


_DETACH = "detach the tensors instead: `x.detach()`"
_NO_DRAWS = "leave it out: random numbers are not built yet"
_CHECKPOINT = "call the function itself: what is recomputed belongs to the plan, as `recompute`"
_CALLED: tuple[tuple[type, str, str, str], ...] = (
    (torch.no_grad, "__enter__", "`torch.no_grad()`", _DETACH),
    (torch.inference_mode, "__enter__", "`torch.inference_mode()`", _DETACH),
    (
        torch.enable_grad,
        "__enter__",
        "`torch.enable_grad()`",
        "leave it out: gradients are enabled in training",
    ),
    (saved_tensors_hooks, "__enter__", "activation checkpointing", _CHECKPOINT),
    (autocast, "__init__", "`torch.autocast`", "cast the tensors instead: `x.to(torch.bfloat16)`"),
)
_WRAPPERS = (  # where torch itself calls what is observed for the user
    *("torch/utils/_contextlib.py", "torch/utils/checkpoint.py", "torch/amp/autocast_mode.py"),
    *("torch/_compile.py", "torch/_dynamo/eval_frame.py", "contextlib.py", "autograd/function.py"),
)


@contextmanager
def observe_forward(found: list[HiddenCode]) -> Iterator[None]:
    """Adds to `found` what the user's code does inside that no graph holds, once a line."""

    def note(what: str, cure: str) -> None:
        line = None if cure == _DETACH and _is_checkpointing() else _find_caller()
        if line is not None and all(each.line != line for each in found):
            found.append(HiddenCode(what, cure, line))

    with ExitStack() as stack:
        for kind, method, what, cure in _CALLED:
            stack.enter_context(_note_calls(kind, method, functools.partial(note, what, cure)))
        for name in ("register_hook", "register_post_accumulate_grad_hook"):
            stack.enter_context(
                _note_calls(Tensor, name, functools.partial(note, "a hook on a tensor", _IN_LOSS))
            )
        stack.enter_context(_note_functions(note))
        draws = functools.partial(note, "a random draw of Python's or numpy's", _NO_DRAWS)
        for owner, name in _list_generators():
            stack.enter_context(_note_calls(owner, name, draws))
        yield


def _list_generators() -> Iterator[tuple[ModuleType, str]]:
    """The functions that draw of the generators of Python and numpy, which no graph has."""
    for owner in (random, sys.modules.get("numpy.random")):
        for name in getattr(owner, "__all__", ()):
            if owner is not None and isinstance(vars(owner)[name], MethodType | BuiltinMethodType):
                yield owner, name


@contextmanager
def _note_calls(owner: type | ModuleType, name: str, note: Callable[[], None]) -> Iterator[None]:
    run = getattr(owner, name)

    @functools.wraps(run)
    def noted(*args: Any, **kwargs: Any) -> Any:
        note()
        return run(*args, **kwargs)

    own = name in vars(owner)
    setattr(owner, name, noted)
    try:
        yield
    finally:
        setattr(owner, name, run) if own else delattr(owner, name)


@contextmanager
def _note_functions(note: Callable[[str, str], None]) -> Iterator[None]:
    """Notes autograd functions that are applied, by a function of torch that every `apply` calls."""
    module: Any = torch.autograd.function
    kept = module._is_setup_context_defined

    def noted(setup_context: Callable[..., Any]) -> Any:
        name = getattr(sys._getframe(1).f_locals.get("cls"), "__name__", "Function")
        if name == "CheckpointFunction":
            note("activation checkpointing", _CHECKPOINT)
        else:
            note(f"`{name}`, an autograd function with a backward pass of its own,", _IN_LOSS)
        return kept(setup_context)

    module._is_setup_context_defined = noted
    try:
        yield
    finally:
        module._is_setup_context_defined = kept


def _is_checkpointing() -> bool:
    """Whether torch's checkpointing itself does what is observed, which is noted by itself."""
    return any(file.endswith("torch/utils/checkpoint.py") for file, _ in list_frames())


def _find_caller() -> Line | None:
    """The user's line that has called an observed function, itself or through a wrapper of torch's."""
    for file, number in list_frames():
        if is_users_file(file):
            return Line(Path(file), number)
        if not file.endswith(_WRAPPERS):
            return None
    return None
