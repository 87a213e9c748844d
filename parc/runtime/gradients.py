"""Gradients between the last backward pass and the optimizer: completed, measured, clipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.utils import get_total_norm

from .placement import PlacedParameter

BUCKET = 1 << 24  # elements summed in one call: 64 MiB of float32


class Gradients:
    """The gradients of the parameters of one stage.

    Which of them are summed together, over which groups, and over which groups their squares are summed, is
    decided once, here.
    """

    def __init__(
        self,
        parameters: Sequence[PlacedParameter],
        mesh: DeviceMesh,
        pipeline: dist.ProcessGroup | None = None,
    ) -> None:
        self.parameters = parameters
        self.mesh, self.pipeline = mesh, pipeline
        self._buckets = list(self._make_buckets())
        self._shards: dict[tuple[str, ...], list[PlacedParameter]] = defaultdict(list)
        for parameter in parameters:
            self._shards[parameter.sharded_axes].append(parameter)

    def complete(self) -> None:
        """Sums the gradients that are terms of sums: once, after the last microbatch."""
        for parameter in self.parameters:
            parameter.ensure_gradient()
        for bucket, groups in self._buckets:
            _sum_together([parameter.ensure_gradient() for parameter in bucket], groups)

    def compute_norm(self) -> Tensor:
        """The 2-norm of the gradient of the whole model: a scalar, equal on all ranks.

        Squares are summed over exactly the axes that shard a parameter, and over the stages: every element
        counts once, on however many ranks it repeats.
        """
        squares = {
            axes: get_total_norm([member.ensure_gradient() for member in members]).square()
            for axes, members in self._shards.items()
        }
        for axis in self.mesh.mesh_dim_names or ():
            if split := [axes for axes in squares if axis in axes]:
                partial = torch.stack([squares[axes] for axes in split])
                dist.all_reduce(partial, group=self.mesh.get_group(axis))
                squares.update(zip(split, partial.unbind(), strict=True))
        total = torch.stack(list(squares.values())).sum()
        if self.pipeline is not None:
            dist.all_reduce(total, group=self.pipeline)
        return total.sqrt()

    def clip(self, limit: float, norm: Tensor) -> None:
        """Scales the gradient down to a norm of `limit`, by the factor of `clip_grad_norm_`."""
        factor = (limit / (norm + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([parameter.ensure_gradient() for parameter in self.parameters], factor)

    def _make_buckets(self) -> Iterator[tuple[list[PlacedParameter], list[dist.ProcessGroup]]]:
        """Parameters whose gradients are summed in one call, and the groups to sum over in turn."""
        sizes = dict(zip(self.mesh.mesh_dim_names or (), self.mesh.mesh.shape, strict=True))
        pending: dict[tuple[str, ...], list[PlacedParameter]] = defaultdict(list)
        for parameter in self.parameters:
            axes = tuple(axis for axis in sorted(parameter.placement.reduce or ()) if sizes[axis] > 1)
            if axes:
                pending[axes].append(parameter)
        for axes, members in pending.items():
            groups = [self.mesh.get_group(axis) for axis in axes]
            yield from ((bucket, groups) for bucket in _fill_buckets(members))


def _fill_buckets(parameters: Iterable[PlacedParameter]) -> Iterator[list[PlacedParameter]]:
    bucket: list[PlacedParameter] = []
    size = 0
    for parameter in parameters:
        count = parameter.tensor.numel()
        if bucket and size + count > BUCKET:
            yield bucket
            bucket, size = [], 0
        bucket.append(parameter)
        size += count
    if bucket:
        yield bucket


def _sum_together(tensors: list[Tensor], groups: Iterable[dist.ProcessGroup]) -> None:
    """Sums `tensors` over each of `groups` in turn, in place, as one flat tensor."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    for group in groups:
        dist.all_reduce(flat, group=group)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    torch._foreach_copy_(tensors, [part.view_as(tensor) for tensor, part in zip(tensors, parts, strict=True)])
