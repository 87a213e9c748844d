"""Gradients that are reduced to the slices of ranks layer by layer, in the backward pass of each microbatch.

A layer takes its inputs through a function that does nothing forward. Backward it is the last of the layer to
run, so that the gradients of all its parameters are there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.distributed.device_mesh import DeviceMesh

from .buckets import reduce_to_slices, split_slices
from .placement import PlacedParameter
from .slices import group_alike


class LayerGradients:
    """The layers at `path` in the stages of this rank: of their gradients it keeps the sums of its slices.

    While `whole` is set, gradients are left as they are: terms of sums.
    """

    def __init__(
        self, stages: Sequence[nn.Module], path: str, parameters: Sequence[PlacedParameter], mesh: DeviceMesh
    ) -> None:
        self.mesh = mesh
        self.whole = False
        for stage in stages:
            for name, layer in stage.get_submodule(path).named_children():
                inside = f"{path}.{name}."
                sliced = [each for each in parameters if each.slice and each.name.startswith(inside)]
                for parameter in sliced:
                    parameter.by_layer = True
                layer.register_forward_pre_hook(partial(self._take_inputs, list(group_alike(sliced))))

    def _take_inputs(
        self, buckets: Sequence[list[PlacedParameter]], _layer: nn.Module, inputs: tuple[Any, ...]
    ) -> tuple[Any, ...]:
        return call_at_end(partial(self._reduce, buckets), inputs)

    def _reduce(self, buckets: Sequence[list[PlacedParameter]]) -> None:
        """Adds the sums over ranks of one microbatch's gradients to those of the microbatches before."""
        if self.whole:
            return
        for bucket in buckets:
            sums = [parameter.ensure_reduced() for parameter in bucket]
            torch._foreach_add_(sums, split_slices(bucket, reduce_to_slices(bucket, self.mesh)))
            for parameter in bucket:
                parameter.tensor.grad = None


def call_at_end(call: Callable[[], None], inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs of a layer; `call` is called when its backward pass has computed all gradients."""
    found = [each for each in inputs if isinstance(each, Tensor) and each.requires_grad]
    if not found:
        return inputs
    taken = dict(zip(map(id, found), _End.apply(call, *found), strict=True))
    return tuple(taken.get(id(each), each) for each in inputs)


class _End(Function):
    """The inputs as they are; calls a function when their gradients are known."""

    apply: ClassVar[Callable[..., tuple[Tensor, ...]]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, call: Callable[[], None], *inputs: Tensor) -> tuple[Tensor, ...]:
        ctx.call = call
        return tuple(each.view_as(each) for each in inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        ctx.call()
        return (None, *gradients)
