"""Which modules compute the same function of their inputs and parameters."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import torch
from torch import Tensor, nn

from parc.capture.model.tree import list_own_attributes


class Signatures:
    """Numbers modules: those of one class with equal attributes, whose tensors and children agree, in order.

    A module that holds anything but plain values (a function of its own, an open file) has a number of its
    own, unless the very same object is held. `initial_values` are what is compared of those of tensors, by
    their ids. Modules may not change between two questions.
    """

    def __init__(self, initial_values: Mapping[int, Hashable]) -> None:
        self._initial_values = initial_values
        self._numbers: dict[Hashable, int] = {}
        self._known: dict[int, tuple[nn.Module, int]] = {}  # by id

    def number(self, module: nn.Module) -> int:
        """Equal for modules that are alike."""
        if id(module) not in self._known:
            number = self._numbers.setdefault(self._describe(module), len(self._numbers))
            self._known[id(module)] = module, number
        return self._known[id(module)][1]

    def _describe(self, module: nn.Module) -> Hashable:
        attributes, own = vars(module), list_own_attributes(module)
        return (
            type(module),
            module.training,
            tuple((name, _freeze(attributes[name])) for name in own if name != "forward"),
            self._describe_tensors(module._parameters),
            self._describe_tensors(module._buffers),
            tuple((name, self.number(child)) for name, child in module._modules.items() if child is not None),
        )

    def _describe_tensors(self, tensors: Mapping[str, Tensor | None]) -> Hashable:
        if not tensors:
            return ()
        return tuple(
            (name, tensor.shape, tensor.dtype, tensor.requires_grad, self._initial_values.get(id(tensor)))
            for name, tensor in tensors.items()
            if tensor is not None
        )


def _freeze(value: object) -> Hashable:
    if value is None or isinstance(value, bool | int | float | complex | str | torch.dtype | torch.device):
        return type(value), value
    if isinstance(value, list | tuple):
        return type(value), tuple(_freeze(item) for item in value)
    if isinstance(value, dict):
        return tuple((key, _freeze(item)) for key, item in value.items())
    return id(value)
