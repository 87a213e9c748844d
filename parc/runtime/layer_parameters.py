"""Parameters of layers that ranks share: a layer is gathered for each of its passes, and freed after it.

Between passes a rank keeps the masters of its slices and no more. The tensors that the modules hold stay the
same ones, and so do the views of them that autograd has saved: it is their memory that comes and goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import register_multi_grad_hook
from torch.distributed.device_mesh import DeviceMesh

from .layer_gradients import call_at_end
from .placement import PlacedParameter
from .recompute import is_first_pass
from .slices import gather_slices, group_alike


class LayerParameters:
    """The layers at `path` in the stages of this rank, with the memory of their gathered parameters.

    They are gathered twice for each microbatch: before the forward and before the backward pass. A layer that
    is recomputed takes its second forward pass inside the backward pass, and uses what that has gathered.
    """

    def __init__(
        self, stages: Sequence[nn.Module], path: str, parameters: Sequence[PlacedParameter], mesh: DeviceMesh
    ) -> None:
        for stage in stages:
            for name, layer in stage.get_submodule(path).named_children():
                inside = f"{path}.{name}."
                own = [each for each in parameters if each.gathered and each.name.startswith(inside)]
                memory = _Memory(own, mesh)
                layer.register_forward_pre_hook(partial(_enter, memory))
                layer.register_forward_hook(partial(_leave, memory))


class _Memory:
    """The memory of the gathered parameters of one layer."""

    def __init__(self, parameters: Sequence[PlacedParameter], mesh: DeviceMesh) -> None:
        self.parameters, self.mesh = parameters, mesh
        self.buckets = list(group_alike(parameters))
        self.own = [parameter for parameter in parameters if parameter.slice is None]

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


def _enter(memory: _Memory, _layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    if is_first_pass():
        memory.fill()
    return call_at_end(memory.free, inputs)


def _leave(memory: _Memory, _layer: nn.Module, _inputs: tuple[Any, ...], outputs: Any) -> None:
    if is_first_pass():
        memory.free()
        found = outputs if isinstance(outputs, tuple) else (outputs,)
        differentiable = [each for each in found if isinstance(each, Tensor) and each.requires_grad]
        register_multi_grad_hook(differentiable, lambda _: memory.fill(), mode="any")
