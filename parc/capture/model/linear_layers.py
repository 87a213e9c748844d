"""The linear layers of a constructor: a large model has many thousands, and few kinds of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import torch
from torch import nn


class LinearTemplate:
    """What the constructor of a linear layer has set, to be given to others of the same arguments."""

    def __init__(self, module: nn.Linear) -> None:
        self._attributes = dict(vars(module))
        containers = ((k, v) for k, v in self._attributes.items() if isinstance(v, dict | set))
        self._containers = [
            (name, value.copy()) for name, value in containers
        ]  # the module may change its own

    def fill(self, module: nn.Linear) -> list[nn.Parameter]:
        """Gives `module`, which has nothing yet, the same attributes; returns its own parameters."""
        attributes = vars(module)
        attributes.update(self._attributes)
        for name, known in self._containers:
            attributes[name] = known.copy() if known else type(known)()  # most are empty: no hooks
        made = []
        with torch._C.DisableTorchFunction(), torch._C._DisableTorchDispatch():
            parameters = attributes["_parameters"]
            for name, parameter in parameters.items():
                if parameter is not None:
                    empty = torch.empty(parameter.shape, dtype=parameter.dtype, device="meta")
                    parameters[name] = nn.Parameter(empty)
                    made.append(parameters[name])
        return made


def describe_call(module: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """What a linear layer follows from: its arguments and the type that tensors have by default.

    None for a class of the user's, and for arguments that are no sizes, flags or types of numbers.
    """
    values = (*args, *kwargs.values())
    if type(module) is not nn.Linear or not all(isinstance(v, int | torch.dtype | None) for v in values):
        return None
    return args, tuple(kwargs.items()), torch.get_default_dtype()
