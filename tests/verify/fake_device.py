"""A fake device: its tensors report the device "fakegpu", and hold their numbers on the CPU.

An operation on tensors of both devices is refused, as on a GPU, but for single numbers on the CPU. The
kernels of a GPU and their rounding, its streams and NCCL are not tested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

NAME = "fakegpu"
TRANSFERS = {torch.ops.aten.copy_.default}  # operators between two devices


class FakeDeviceTensor(Tensor):
    """A tensor on the fake device; `inner` has its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> FakeDeviceTensor:
        made: FakeDeviceTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=torch.device(NAME, 0),
            requires_grad=inner.requires_grad,
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"{NAME}: {self.inner!r}"

    def tolist(self) -> Any:
        return self.inner.tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        return dispatch(func, args, dict(kwargs or {}))


def dispatch(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = any(isinstance(leaf, FakeDeviceTensor) for leaf in leaves)
    here = [
        leaf for leaf in leaves if not isinstance(leaf, FakeDeviceTensor) and not leaf.is_meta and leaf.ndim
    ]
    if there and here and func not in TRANSFERS:
        raise RuntimeError(f"{func}: a tensor of shape {tuple(here[0].shape)} is on the CPU, others are not")
    wanted = kwargs.get("device")
    to = NAME if there else "cpu"
    if wanted is not None:
        to = torch.device(wanted).type
        kwargs["device"] = torch.device("cpu" if to == NAME else to)
    unwrapped = pytree.tree_map_only(FakeDeviceTensor, lambda each: each.inner, (args, kwargs))
    out = func(*unwrapped[0], **unwrapped[1])
    if to != NAME:
        return out
    wrapped = pytree.tree_map_only(Tensor, lambda each: each if each.is_meta else FakeDeviceTensor(each), out)
    if func.namespace in ("c10d", "_c10d_functional"):
        return wrapped
    return return_and_correct_aliasing(func, args, kwargs, wrapped)


class _DeviceModule(_DummyBackendModule):
    """The module `torch.fakegpu`."""

    def get_rng_state(self, _device: object = None) -> Tensor:
        return torch.empty(0)

    def set_rng_state(self, _state: Tensor, _device: object = None) -> None:
        pass


class _FactoryMode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Dispatches operators without a tensor argument too: those that create tensors on the device."""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if DTensor in types:
            return NotImplemented
        return dispatch(func, args, dict(kwargs or {}))


@contextmanager
def fake_device() -> Iterator[None]:
    """Within it, "fakegpu" is a device. The process cannot be used for anything else afterwards."""
    _setup_privateuseone_for_python_backend(NAME, _DeviceModule())
    torch._C._set_only_lift_cpu_tensors(True)  # `torch.tensor` moves its numbers where modes see it
    for module in (dist, dist.distributed_c10d):
        vars(module)["batch_isend_irecv"] = _issue_each
    with torch.autograd.set_multithreading_enabled(False), _FactoryMode():
        yield


def _issue_each(ops: Sequence[dist.P2POp]) -> list[dist.Work | None]:
    """torch would look up the backend of the device."""
    return [op.op(op.tensor, group=op.group, tag=op.tag, **{_END[op.op]: op.group_peer}) for op in ops]


_END = {dist.isend: "group_dst", dist.irecv: "group_src"}
