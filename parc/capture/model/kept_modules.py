"""Modules that compute in float32, whatever the model computes in.

A module all of whose parameters are kept in float32 takes its inputs in float32, and gives its results in the
type that the model computes in.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from functools import partial, wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.model.tree import walk_modules

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)


class PartlyKept(Exception):
    """Of the parameters of one module some are kept, and others are not."""

    def __init__(self, owner: type[nn.Module], kept: str, other: str) -> None:
        self.owner = owner
        super().__init__(f"`{kept}` is kept in fp32 and `{other}` is not, though one module has both")


def find_kept_modules(model: nn.Module, kept: Collection[str]) -> tuple[str, ...]:
    """The paths of the outermost modules below `model` all of whose parameters are among the names `kept`.

    Containers, which are not called, are not among them, but what they hold is. Raises PartlyKept.
    """
    left_out = {name for name, _ in model.named_parameters() if name not in kept}
    found: list[str] = []
    for name in kept:
        parts = name.split(".")[:-1]
        paths = (".".join(parts[:depth]) for depth in range(1, len(parts) + 1))
        whole = (path for path in paths if not any(each.startswith(f"{path}.") for each in left_out))
        outermost = next((p for p in whole if not isinstance(model.get_submodule(p), _CONTAINERS)), None)
        if outermost is None:
            path = ".".join(parts)
            others = sorted(each for each in left_out if each.startswith(f"{path}." if path else ""))
            raise PartlyKept(type(model.get_submodule(path)), name, next(iter(others), name))
        found.append(outermost)
    return tuple(dict.fromkeys(found))


def find_wide_tensors(model: nn.Module, paths: Iterable[str]) -> set[int]:
    """The ids of the parameters and buffers of the modules at `paths`."""
    return {id(each) for path in paths for each in _list_tensors(model.get_submodule(path))}


def _list_tensors(module: nn.Module) -> Iterator[Tensor]:
    for _, each in walk_modules(module):
        yield from (t for t in (*each._parameters.values(), *each._buffers.values()) if t is not None)


def widen(dtype: torch.dtype) -> torch.dtype:
    """The type that a kept module computes in, in a model that computes in `dtype`."""
    return torch.promote_types(dtype, torch.float32)


def cast_around(model: nn.Module, paths: Iterable[str], dtype: torch.dtype) -> set[int]:
    """Lets the modules at `paths` cast what they are called with, and their results to `dtype`.

    Their classes are replaced by classes of the same names, so that the casts are part of `forward`. The set
    gets the ids of those that are called.
    """
    called = set[int]()
    known: dict[type[nn.Module], type[nn.Module]] = {}
    for path in paths:
        module = model.get_submodule(path)
        kind = type(module)
        if kind not in known:
            known[kind] = _make_casting_class(kind, dtype, called)
        module.__class__ = known[kind]
    return called


def _make_casting_class(kind: type[nn.Module], dtype: torch.dtype, called: set[int]) -> type[nn.Module]:
    to_wide, to_compute = (partial(_cast, dtype=each) for each in (widen(dtype), dtype))

    @wraps(kind.forward)
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        called.add(id(self))
        args, kwargs = pytree.tree_map(to_wide, (args, kwargs))
        return pytree.tree_map(to_compute, kind.forward(self, *args, **kwargs))

    names = {"forward": forward, "__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind,), {**names, "__doc__": kind.__doc__})


def find_not_called(paths: Iterable[str], called: Collection[str]) -> str | None:
    """The first of the modules at `paths` that is not called, nor its like in another layer."""
    known = {_leave_numbers_out(path) for path in called}
    return next((path for path in paths if _leave_numbers_out(path) not in known), None)


def _leave_numbers_out(path: str) -> str:
    return re.sub(r"\d+", "*", path)


def _cast(value: Any, dtype: torch.dtype) -> Any:
    is_real = isinstance(value, Tensor) and value.is_floating_point()
    return value.to(dtype) if is_real else value
