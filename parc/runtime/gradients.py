"""What happens to gradients between the last backward and the optimizer: summed, measured, clipped."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm

from .parameters import Declared, sharded_axes

BUCKET = 1 << 24  # elements summed in one call: 64 MiB of float32


def local_gradient(parameter: DTensor) -> torch.Tensor:
    """This rank's shard of the gradient; zeros, and kept, where no microbatch has reached the parameter."""
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    gradient = parameter.grad
    assert isinstance(gradient, DTensor)
    return gradient.to_local()


def sync_gradients(parameters: Iterable[Declared]) -> None:
    """Completes gradients that are pending sums over `parameter.reduce`: once, after the last microbatch."""
    pending: dict[tuple[tuple[str, ...], torch.dtype], list[Declared]] = defaultdict(list)
    for parameter in parameters:
        local_gradient(parameter)
        mesh = parameter.device_mesh
        axes = tuple(axis for axis in sorted(parameter.reduce) if mesh[axis].size() > 1)
        if axes:
            pending[axes, parameter.dtype].append(parameter)
    for (axes, _), members in pending.items():
        groups = [members[0].device_mesh.get_group(axis) for axis in axes]
        for bucket in _buckets([local_gradient(member) for member in members]):
            _sum_together(bucket, groups)


def global_norm(parameters: Sequence[Declared], pipeline: dist.ProcessGroup | None = None) -> torch.Tensor:
    """The 2-norm of the whole model's gradient, a scalar equal on all ranks.

    Squares are summed over exactly the axes that shard a parameter, and over the stages: every element counts
    once, on however many ranks it repeats.
    """
    shards: dict[tuple[str, ...], list[torch.Tensor]] = defaultdict(list)
    for parameter in parameters:
        shards[sharded_axes(parameter)].append(local_gradient(parameter))
    squares = {axes: get_total_norm(gradients).square() for axes, gradients in shards.items()}
    mesh = parameters[0].device_mesh
    for axis in mesh.mesh_dim_names or ():
        if split := [axes for axes in squares if axis in axes]:
            partial = torch.stack([squares[axes] for axes in split])
            dist.all_reduce(partial, group=mesh.get_group(axis))
            squares.update(zip(split, partial.unbind(), strict=True))
    total = torch.stack(list(squares.values())).sum()
    if pipeline is not None:
        dist.all_reduce(total, group=pipeline)
    return total.sqrt()


def clip_gradients(parameters: Iterable[Declared], limit: float, norm: torch.Tensor) -> None:
    """Scales the gradient down to a norm of `limit`, by the factor of `torch.nn.utils.clip_grad_norm_`."""
    factor = (limit / (norm + 1e-6)).clamp(max=1.0)
    for parameter in parameters:
        local_gradient(parameter).mul_(factor)


def _buckets(tensors: list[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    bucket: list[torch.Tensor] = []
    for tensor in tensors:
        if bucket and sum(member.numel() for member in bucket) + tensor.numel() > BUCKET:
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _sum_together(tensors: list[torch.Tensor], groups: Iterable[dist.ProcessGroup]) -> None:
    """Sums `tensors` over each of `groups` in turn, in place, as one flat tensor."""
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    for group in groups:
        dist.all_reduce(flat, group=group)
    parts = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
