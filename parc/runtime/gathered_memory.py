"""The memory of parameters that ranks share: they are gathered for a pass, and freed after it.

Between passes a rank keeps the masters of its slices and no more. The tensors that the modules hold stay the
same ones, and so do the views of them that autograd has saved: it is their memory that comes and goes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from .placement import PlacedParameter
from .slices import gather_slices, group_alike


class GatheredMemory:
    """The memory of those parameters of one module that are gathered."""

    def __init__(self, parameters: Iterable[PlacedParameter], mesh: DeviceMesh) -> None:
        self.parameters, self.mesh = [each for each in parameters if each.gathered], mesh
        self.buckets = list(group_alike(self.parameters))
        self.own = [parameter for parameter in self.parameters if parameter.slice is None]

    def fill(self) -> None:
        """Gathers the masters of all ranks, rounded to the type that the model computes in."""
        for parameter in self.parameters:
            tensor = parameter.tensor
            tensor.untyped_storage().resize_(tensor.numel() * tensor.element_size())
        for bucket in self.buckets:
            slices = [parameter.master.to(parameter.tensor.dtype) for parameter in bucket]
            _set_values(bucket, gather_slices(bucket, slices, self.mesh))
        if self.own:
            _set_values(self.own, [parameter.master for parameter in self.own])

    def free(self) -> None:
        for parameter in self.parameters:
            parameter.tensor.untyped_storage().resize_(0)


def _set_values(parameters: Sequence[PlacedParameter], values: list[Tensor]) -> None:
    """Sets tensors to the values of the forward pass, so that autograd counts no change: through `.data`."""
    torch._foreach_copy_([parameter.tensor.data for parameter in parameters], values)
