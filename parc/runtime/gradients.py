"""Gradients between the last backward pass and the optimizer: completed, measured, clipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.utils import get_total_norm

from .buckets import count_elements, fill_buckets, fill_up, reduce_to_slices, split_slices
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
            if not parameter.by_module:
                parameter.ensure_gradient()
            elif parameter.tensor.grad is None:
                parameter.ensure_reduced()
            else:
                raise RuntimeError(f"no backward pass has reduced the gradient of {parameter.name}")
        for bucket, to_slices, groups in self._buckets:
            self._sum_together(bucket, to_slices, groups)

    def compute_norm(self) -> Tensor:
        """The 2-norm of the gradient of the whole model: a scalar, equal on all ranks.

        Squares are summed over exactly the axes that shard a parameter, and over the stages: every element
        counts once, on however many ranks it repeats. They are summed in float32, or a wider type.
        """
        squares = {
            axes: _widen(get_total_norm([member.gradient for member in members])).square()
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

    def _make_buckets(self) -> Iterator[tuple[list[PlacedParameter], bool, list[dist.ProcessGroup]]]:
        """Parameters whose gradients are summed in one call, whether to slices, and the other groups."""
        sizes = dict(zip(self.mesh.mesh_dim_names or (), self.mesh.mesh.shape, strict=True))
        pending: dict[tuple[tuple[str, ...], tuple[str, ...], torch.dtype], list[PlacedParameter]] = (
            defaultdict(list)
        )
        for parameter in self.parameters:
            sliced = parameter.slice.axes if parameter.slice else ()
            axes = (axis for axis in sorted(parameter.placement.reduce or ()) if sizes[axis] > 1)
            others = tuple(axis for axis in axes if axis not in sliced)
            key = () if parameter.by_module else sliced, others, parameter.reduce_dtype
            pending[key].append(parameter)
        for (sliced, others, _), members in pending.items():
            groups = [self.mesh.get_group(axis) for axis in others]
            if sliced or groups:
                yield from ((bucket, bool(sliced), groups) for bucket in fill_buckets(members))

    def _sum_together(
        self, bucket: list[PlacedParameter], to_slices: bool, groups: Iterable[dist.ProcessGroup]
    ) -> None:
        """Sums gradients, to slices and then over each of the groups in turn, as one flat tensor."""
        if to_slices:
            flat = reduce_to_slices(bucket, self.mesh)
        else:
            terms = [each.gradient.reshape(-1).to(each.reduce_dtype) for each in bucket]
            lengths = map(count_elements, bucket)
            flat = torch.cat([fill_up(*pair) for pair in zip(terms, lengths, strict=True)])
        for group in groups:
            dist.all_reduce(flat, group=group)
        gradients = [parameter.gradient for parameter in bucket]
        pairs = zip(gradients, split_slices(bucket, flat), strict=True)
        torch._foreach_copy_(gradients, [part.view_as(own) for own, part in pairs])


def _widen(norm: Tensor) -> Tensor:
    return norm.to(torch.promote_types(norm.dtype, torch.float32))
