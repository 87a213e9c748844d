"""Gradients between the last backward pass and the optimizer: completed, measured, clipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.utils import get_total_norm

from .buckets import fill_buckets, lay_out_slices
from .placement import PlacedParameter


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
        self._shards: dict[frozenset[str], list[PlacedParameter]] = defaultdict(list)
        for parameter in parameters:
            self._shards[parameter.distinct_axes].append(parameter)

    def complete(self) -> None:
        """Sums the gradients that are terms of sums: once, after the last microbatch.

        Where ranks share an update, each is left with the sum of its own slice.
        """
        for parameter in self.parameters:
            parameter.ensure_gradient()
        for bucket, slices, groups in self._buckets:
            _sum_together(bucket, slices, groups)

    def compute_norm(self) -> Tensor:
        """The 2-norm of the gradient of the whole model: a scalar, equal on all ranks.

        Squares are summed over exactly the axes that shard a parameter, and over the stages: every element
        counts once, on however many ranks it repeats.
        """
        squares = {
            axes: get_total_norm([member.gradient for member in members]).square()
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
        torch._foreach_mul_([parameter.gradient for parameter in self.parameters], factor)

    def _make_buckets(
        self,
    ) -> Iterator[tuple[list[PlacedParameter], list[dist.ProcessGroup], list[dist.ProcessGroup]]]:
        """Parameters whose gradients are summed in one call, the groups that share them, innermost first, and
        the other groups to sum over in turn."""
        sizes = dict(zip(self.mesh.mesh_dim_names or (), self.mesh.mesh.shape, strict=True))
        pending: dict[tuple[tuple[str, ...], ...], list[PlacedParameter]] = defaultdict(list)
        for parameter in self.parameters:
            sliced = parameter.slice.axes if parameter.slice else ()
            axes = (axis for axis in sorted(parameter.placement.reduce or ()) if sizes[axis] > 1)
            pending[sliced[::-1], tuple(axis for axis in axes if axis not in sliced)].append(parameter)
        for kinds, members in pending.items():
            slices, groups = ([self.mesh.get_group(axis) for axis in axes] for axes in kinds)
            if slices or groups:
                yield from ((bucket, slices, groups) for bucket in fill_buckets(members))


def _sum_together(
    bucket: list[PlacedParameter], slices: list[dist.ProcessGroup], groups: Iterable[dist.ProcessGroup]
) -> None:
    """Sums gradients over each of the groups in turn, in place, as one flat tensor."""
    tensors = [parameter.ensure_gradient() for parameter in bucket]
    flat = lay_out_slices(bucket, tensors) if slices else torch.cat([each.reshape(-1) for each in tensors])
    for group in slices:
        share = flat.new_empty(flat.numel() // group.size())
        dist.reduce_scatter_single(share, flat, group=group)
        flat = share
    for group in groups:
        dist.all_reduce(flat, group=group)
    gradients = [parameter.gradient for parameter in bucket]
    parts = torch.split(flat, [each.slice.length if each.slice else each.tensor.numel() for each in bucket])
    pairs = zip(gradients, parts, strict=True)
    torch._foreach_copy_(gradients, [part[: own.numel()].view_as(own) for own, part in pairs])
