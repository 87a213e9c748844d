"""Runs a program at its real sizes without memory and without arithmetic: its tensors have no data.

Whole numbers that the program makes are real, small as they are: counts of tokens, which decide sizes. All
that is computed from floating-point numbers is not, so that routing is taken to be even, and a number that
the program reads off a tensor is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

Note: TypeAlias = Callable[[Any, Sequence[Any]], None]  # an operator, and its arguments

aten = torch.ops.aten
META, CPU = torch.device("meta"), torch.device("cpu")
REAL = 1 << 22  # elements: what is larger has no data, whole numbers or not


@contextmanager
def hollow(note: Note) -> Iterator[None]:
    """Within it, `device="cpu"` makes tensors without data; `note` hears of functional collectives."""
    module: Any = sys.modules[Optimizer.__module__]
    devices = module._get_fused_kernels_supported_devices
    module._get_fused_kernels_supported_devices = lambda: [*devices(), "meta"]
    try:
        with _Hollow(note):
            yield
    finally:
        module._get_fused_kernels_supported_devices = devices


class _Hollow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, note: Note) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.note = note

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if DTensor in types:  # it makes operations on its shards, which come here as well
            return NotImplemented
        if func.namespace == "_c10d_functional":
            self.note(func, args)
            return func(*map(_emptied, args), **kwargs)
        held = [part for arg in args for part in (arg if isinstance(arg, (list, tuple)) else (arg,))]
        empty = [part.is_meta for part in held if isinstance(part, Tensor)]
        if not empty and "device" in kwargs:
            return _new(func, args, kwargs)
        if not any(empty):
            return func(*args, **kwargs)
        if func in _ANSWERS and not (func is aten._to_copy.default and kwargs.get("device") != CPU):
            return _ANSWERS[func](*args, **kwargs)
        return _made(func, args if all(empty) else tuple(map(_emptied, args)), kwargs)


def _made(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The result of an operator on tensors without data, which is worked out once for operands of a kind."""
    if func not in _FRESH:
        returns = func._schema.returns
        _FRESH[func] = not func._schema.is_mutable and all(part.alias_info is None for part in returns)
    if not _FRESH[func]:
        return func(*args, **kwargs)
    key = (func, _kind(args), _kind(tuple(kwargs.items())))
    if key not in _KNOWN:
        _KNOWN[key] = _described(func(*args, **kwargs))
    return _like(_KNOWN[key])


_FRESH: dict[Any, bool] = {}  # whether an operator's results are new tensors
_KNOWN: dict[Any, Any] = {}


class _Described(NamedTuple):
    """All that there is to know of a tensor without data."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def _kind(value: Any) -> Any:
    """What an operator's results depend on; 1, 1.0 and True are unlike."""
    if isinstance(value, Tensor):
        return _described(value)
    return tuple(map(_kind, value)) if isinstance(value, (list, tuple)) else (type(value), value)


def _described(made: Any) -> Any:
    if isinstance(made, Tensor):
        return _Described(tuple(made.shape), made.stride(), made.dtype)
    return [_described(part) for part in made] if isinstance(made, (list, tuple)) else made


def _like(known: Any) -> Any:
    if isinstance(known, _Described):
        return torch.empty_strided(known.shape, known.stride, dtype=known.dtype, device=META)
    return [_like(part) for part in known] if isinstance(known, list) else known


def _new(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A tensor made of nothing: with data only if it is a few whole numbers, on whichever device."""
    made = func(*args, **{**kwargs, "device": META})
    if made.dtype.is_floating_point or made.numel() > REAL:
        return made
    return func(*args, **{**kwargs, "device": CPU})


def _emptied(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_meta else value.to(META)
    if isinstance(value, (list, tuple)):
        return [_emptied(part) for part in value]
    return value


def _one(tensor: Tensor) -> float | int:
    return 1.0 if tensor.dtype.is_floating_point else 1


def _ones(tensor: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.ones((), dtype=dtype or tensor.dtype).expand(tensor.shape)


def _even(tensor: Tensor, weights: None = None, minlength: int = 0) -> Tensor:
    """As many of each number, as far as that goes."""
    each, rest = divmod(tensor.numel(), max(1, minlength))
    return torch.tensor([each + (number < rest) for number in range(max(1, minlength))])


_ANSWERS: Mapping[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: _one,
    aten._to_copy.default: _ones,  # to where numbers can be read
    aten.bincount.default: _even,
    aten._fused_adamw_.default: lambda *_, **__: None,
}
"""What is said of tensors without data."""
