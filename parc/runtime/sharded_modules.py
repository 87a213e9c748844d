"""Modules whose gradients, and perhaps parameters, ranks share one after the other, as `fully_shard` does.

A module is gathered for each of its passes, and freed after it. At the end of its backward pass its gradients
are reduced to the slices of ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh

from .buckets import reduce_to_slices, split_slices
from .gathered_memory import GatheredMemory
from .layers import VocabEmbedding
from .module_passes import PassActions, watch_module, watch_stage
from .placement import PlacedParameter, matches
from .slices import group_alike


class ShardedModules:
    """The modules at `paths` in the stages of this rank. What else a stage holds is gathered for its passes.

    A module is gathered twice for each microbatch, before the forward and before the backward pass; an
    embedding once, because its gradient needs no parameters. One that is recomputed takes its second forward
    pass inside the backward pass, and uses what that has gathered. While `whole` is set, gradients are left
    as they are: terms of sums.
    """

    def __init__(
        self,
        stages: Sequence[nn.Module],
        paths: Sequence[str],
        parameters: Sequence[PlacedParameter],
        mesh: DeviceMesh,
    ) -> None:
        self.mesh = mesh
        self.whole = False
        for parameter in parameters:
            parameter.by_module = parameter.slice is not None
        for stage in stages:
            for module, own in _divide_parameters(stage, paths, parameters):
                watch = watch_stage if module is stage else watch_module
                watch(module, self._choose_actions(module, own))

    def _choose_actions(self, module: nn.Module, parameters: Sequence[PlacedParameter]) -> PassActions:
        memory = GatheredMemory(parameters, self.mesh)
        buckets = list(group_alike(parameters))
        looks_up = isinstance(module, nn.Embedding | VocabEmbedding)

        def begin_backward() -> None:
            if not looks_up:
                memory.fill()

        def end_backward() -> None:
            if not self.whole:
                self._reduce(buckets)
            memory.free()

        return PassActions(
            begin_forward=memory.fill,
            end_forward=memory.free,
            begin_backward=begin_backward,
            end_backward=end_backward,
        )

    def _reduce(self, buckets: Sequence[list[PlacedParameter]]) -> None:
        """Adds the sums over ranks of one microbatch's gradients to those of the microbatches before."""
        for bucket in buckets:
            sums = [parameter.ensure_reduced() for parameter in bucket]
            torch._foreach_add_(sums, split_slices(bucket, reduce_to_slices(bucket, self.mesh)))
            for parameter in bucket:
                parameter.tensor.grad = None


def _divide_parameters(
    stage: nn.Module, paths: Sequence[str], parameters: Sequence[PlacedParameter]
) -> Iterator[tuple[nn.Module, list[PlacedParameter]]]:
    """The modules at `paths` with their parameters, and the stage with the others; `*` is any number."""
    held = {id(tensor) for tensor in stage.parameters()}
    left = {parameter.name: parameter for parameter in parameters if id(parameter.tensor) in held}
    for name, module in stage.named_modules():
        if any(matches(path, name) for path in paths):
            inside = [each for each in left if each.startswith(f"{name}.")]
            yield module, [left.pop(each) for each in inside]
    if left:
        yield stage, list(left.values())
