"""Proofs that two modules compute the same function of their inputs and parameters."""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import nn

_OF_TORCH = set(vars(nn.Module()))


def signature(module: nn.Module, values: dict[int, Hashable] | None = None) -> Hashable:
    """Equal for modules of one class with equal attributes, whose tensors and children agree, in order.

    A module that holds anything but plain values (a function of its own, an open file) is identical to itself
    alone, unless the very same object is held. `values` maps a tensor, by its id, to how it begins.
    """
    values = values or {}
    return (
        type(module),
        module.training,
        tuple(
            (name, _frozen(value))
            for name, value in sorted(vars(module).items())
            if name not in _OF_TORCH and name != "forward"
        ),
        tuple((name, _tensor(p), values.get(id(p))) for name, p in module.named_parameters(recurse=False)),
        tuple((name, _tensor(b), values.get(id(b))) for name, b in module.named_buffers(recurse=False)),
        tuple((name, signature(child, values)) for name, child in module.named_children()),
    )


def _tensor(tensor: torch.Tensor) -> Hashable:
    return tensor.shape, tensor.dtype, tensor.requires_grad


def _frozen(value: object) -> Hashable:
    if isinstance(value, (list, tuple)):
        return type(value), tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _frozen(item)) for key, item in value.items())
    if value is None or isinstance(
        value, (bool, int, float, complex, str, torch.dtype, torch.device, torch.Size)
    ):
        return type(value), value
    return id(value)
