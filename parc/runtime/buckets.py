"""Parameters that communicate together: a few large calls in place of one a parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.functional import pad

from .placement import PlacedParameter

BUCKET = 1 << 24  # elements sent in one call: 64 MiB of float32


def fill_buckets(parameters: Iterable[PlacedParameter]) -> Iterator[list[PlacedParameter]]:
    """Parameters in turn, of about as many elements as are sent in one call."""
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


def lay_out_slices(bucket: Sequence[PlacedParameter], tensors: Iterable[Tensor]) -> Tensor:
    """Tensors of the local shapes as one flat tensor: the slices of the first rank, those of the second, ..

    Zeros fill the slices that are shorter than the others.
    """
    rows = []
    for parameter, tensor in zip(bucket, tensors, strict=True):
        assert parameter.slice is not None
        flat, (_, ranks, length, _) = tensor.reshape(-1), parameter.slice
        rows.append(fill_up(flat, ranks * length).view(ranks, length))
    return torch.cat(rows, dim=1).view(-1)


def reduce_to_slices(bucket: Sequence[PlacedParameter], mesh: DeviceMesh) -> Tensor:
    """Sums gradients over the ranks that share their update: of this rank's slices, as one flat tensor.

    It has the type in which gradients are sent.
    """
    flat = lay_out_slices(bucket, [each.ensure_gradient().to(each.reduce_dtype) for each in bucket])
    assert bucket[0].slice is not None
    for axis in reversed(bucket[0].slice.axes):  # the innermost first: a share is left for each outer one
        group = mesh.get_group(axis)
        share = flat.new_empty(flat.numel() // group.size())
        dist.reduce_scatter_single(share, flat, group=group)
        flat = share
    return flat


def split_slices(bucket: Sequence[PlacedParameter], flat: Tensor) -> list[Tensor]:
    """What of a flat tensor is each parameter's own: its slice, or all of it, without zeros that fill up."""
    parts = torch.split(flat, [count_elements(parameter) for parameter in bucket])
    pairs = zip(parts, bucket, strict=True)
    return [part[: len(each.slice.elements)] if each.slice else part for part, each in pairs]


def count_elements(parameter: PlacedParameter) -> int:
    """Elements that a bucket has of a parameter on one rank."""
    return parameter.slice.length if parameter.slice else parameter.tensor.numel()


def fill_up(flat: Tensor, length: int) -> Tensor:
    """A flat tensor with zeros up to a length; the tensor itself where it has that length: `pad` copies."""
    return flat if len(flat) == length else pad(flat, (0, length - len(flat)))
