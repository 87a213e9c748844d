"""The linear layers of a constructor: a large model has many thousands, and few kinds of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import nn


class LinearTemplate:
    """What the constructor of a linear layer has set, to be given to others of the same arguments."""

    def __init__(self, module: nn.Linear) -> None:
        self._attributes = _copy_attributes(vars(module))

    def fill(self, module: nn.Linear) -> list[nn.Parameter]:
        """Gives `module`, which has nothing yet, the same attributes; returns its own parameters."""
        vars(module).update(_copy_attributes(self._attributes))
        made = []
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            for name, known in module._parameters.items():
                if known is not None:
                    parameter = nn.Parameter(torch.empty(known.shape, dtype=known.dtype, device="meta"))
                    module._parameters[name] = parameter
                    made.append(parameter)
        return made


def _copy_attributes(attributes: dict[str, Any]) -> dict[str, Any]:
    return {k: v.copy() if isinstance(v, dict | set) else v for k, v in attributes.items()}


def describe_call(module: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """What a linear layer follows from: its arguments and the type that tensors have by default.

    None for a class of the user's, and for arguments that are no sizes, flags or types of numbers.
    """
    values = (*args, *kwargs.values())
    if type(module) is not nn.Linear or not all(isinstance(v, int | torch.dtype | None) for v in values):
        return None
    return args, tuple(kwargs.items()), torch.get_default_dtype()
