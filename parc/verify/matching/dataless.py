"""Dataless mode: runs a program at its real sizes without memory and arithmetic, on tensors without data.

Small integer tensors that the program creates do have data: they count tokens, and so decide sizes. Whatever
is computed from floating-point numbers has none. Routing is therefore taken to be even, and a number that the
program reads from a tensor without data is one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode

Observer: TypeAlias = Callable[[Any, Sequence[Any]], None]  # is given an operator and its arguments

aten = torch.ops.aten
META, CPU = torch.device("meta"), torch.device("cpu")
MAX_ELEMENTS = 1 << 22  # of an integer tensor with data


@contextmanager
def dataless_mode(observe_collective: Observer) -> Iterator[None]:
    """Within it, `device="cpu"` makes tensors without data.

    `observe_collective` is called for every functional collective.
    """
    module: Any = sys.modules[Optimizer.__module__]
    devices = module._get_fused_kernels_supported_devices
    module._get_fused_kernels_supported_devices = lambda: [*devices(), "meta"]
    try:
        with _DatalessMode(observe_collective):
            yield
    finally:
        module._get_fused_kernels_supported_devices = devices


class _DatalessMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self, observe_collective: Observer) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.observe_collective = observe_collective

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.namespace == "_c10d_functional":
            self.observe_collective(func, args)
            return func(*map(_drop_data, args), **kwargs)
        held = [part for arg in args for part in (arg if isinstance(arg, (list, tuple)) else (arg,))]
        empty = [part.is_meta for part in held if isinstance(part, Tensor)]
        if not empty and "device" in kwargs:
            return _create(func, args, kwargs)
        if not any(empty):
            return func(*args, **kwargs)
        if func in _ANSWERS and not (func is aten._to_copy.default and kwargs.get("device") != CPU):
            return _ANSWERS[func](*args, **kwargs)
        return _infer(func, args if all(empty) else tuple(map(_drop_data, args)), kwargs)


def _infer(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """The result of an operator on tensors without data, computed once for operands of the same metadata."""
    if func not in _RETURNS_NEW:
        returns = func._schema.returns
        _RETURNS_NEW[func] = not func._schema.is_mutable and all(part.alias_info is None for part in returns)
    if not _RETURNS_NEW[func]:
        return func(*args, **kwargs)
    key = (func, _make_key(args), _make_key(tuple(kwargs.items())))
    if key not in _KNOWN:
        _KNOWN[key] = _read_metadata(func(*args, **kwargs))
    return _build(_KNOWN[key])


_RETURNS_NEW: dict[Any, bool] = {}  # by operator: whether its results are new tensors
_KNOWN: dict[Any, Any] = {}  # by operator and operands: the metadata of the results


class _Metadata(NamedTuple):
    """Of a tensor."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


def _make_key(value: Any) -> Any:
    """The part of an operand that results depend on. 1, 1.0 and True differ."""
    if isinstance(value, Tensor):
        return _read_metadata(value)
    return tuple(map(_make_key, value)) if isinstance(value, (list, tuple)) else (type(value), value)


def _read_metadata(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _Metadata(tuple(value.shape), value.stride(), value.dtype)
    return [_read_metadata(part) for part in value] if isinstance(value, (list, tuple)) else value


def _build(known: Any) -> Any:
    if isinstance(known, _Metadata):
        return torch.empty_strided(known.shape, known.stride, dtype=known.dtype, device=META)
    return [_build(part) for part in known] if isinstance(known, list) else known


def _create(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """A tensor from a factory function: with data only if it holds few integers, whatever the device."""
    made = func(*args, **{**kwargs, "device": META})
    if made.dtype.is_floating_point or made.numel() > MAX_ELEMENTS:
        return made
    return func(*args, **{**kwargs, "device": CPU})


def _drop_data(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_meta else value.to(META)
    if isinstance(value, (list, tuple)):
        return [_drop_data(part) for part in value]
    return value


def _copy_ones(tensor: Tensor, *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return torch.ones((), dtype=dtype or tensor.dtype).expand(tensor.shape)


def _bincount(tensor: Tensor, weights: None = None, minlength: int = 0) -> Tensor:
    """Each number equally often, as far as the count divides."""
    each, rest = divmod(tensor.numel(), max(1, minlength))
    return torch.tensor([each + (number < rest) for number in range(max(1, minlength))])


_ANSWERS: Mapping[Any, Callable[..., Any]] = {
    aten._local_scalar_dense.default: lambda tensor: 1.0 if tensor.dtype.is_floating_point else 1,
    aten._to_copy.default: _copy_ones,  # to where numbers can be read
    aten.bincount.default: _bincount,
    aten._fused_adamw_.default: lambda *_, **__: None,
}
"""Operators that read data, and what they return where there is none."""
