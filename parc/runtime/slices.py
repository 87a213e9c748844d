"""Parameters whose update is shared between ranks: each rank gets the others' slices after the update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from .buckets import fill_buckets, fill_up
from .placement import PlacedParameter


class SharedUpdates:
    """The parameters of which this rank updates a slice, and holds the whole between steps.

    What is sent are the rounded tensors that the model computes with; each rank keeps its masters to itself.
    """

    def __init__(self, parameters: Iterable[PlacedParameter], mesh: DeviceMesh) -> None:
        self._buckets = list(group_alike(each for each in parameters if not each.gathered))
        self._mesh = mesh

    def gather(self) -> None:
        """Completes the parameters, of which this rank has updated its slice."""
        for bucket in self._buckets:
            tensors = [parameter.tensor.detach() for parameter in bucket]
            pairs = zip(bucket, tensors, strict=True)
            slices = [parameter.select_slice(tensor) for parameter, tensor in pairs]
            torch._foreach_copy_(tensors, gather_slices(bucket, slices, self._mesh))


def group_alike(parameters: Iterable[PlacedParameter]) -> Iterator[list[PlacedParameter]]:
    """Those that are sliced, in buckets: their slices lie over the same axes, and are of the same types."""
    alike: dict[tuple[tuple[str, ...], torch.dtype, torch.dtype], list[PlacedParameter]] = defaultdict(list)
    for parameter in parameters:
        if parameter.slice is not None:
            alike[parameter.slice.axes, parameter.tensor.dtype, parameter.reduce_dtype].append(parameter)
    for members in alike.values():
        yield from fill_buckets(members)


def gather_slices(
    bucket: Sequence[PlacedParameter], slices: Sequence[Tensor], mesh: DeviceMesh
) -> list[Tensor]:
    """The local tensors of a bucket, of which each rank gives its slices: views of one new tensor."""
    lengths = [parameter.slice.length for parameter in bucket if parameter.slice]
    pairs = zip(slices, lengths, strict=True)
    flat = torch.cat([fill_up(each, length) for each, length in pairs])
    assert bucket[0].slice is not None
    for axis in bucket[0].slice.axes:  # outermost first, as slices are numbered
        group = mesh.get_group(axis)
        whole = flat.new_empty(group.size() * flat.numel())
        dist.all_gather_single(whole, flat, group=group)
        flat = whole
    parts = torch.split(flat.view(-1, sum(lengths)), lengths, dim=1)  # of each parameter: (ranks, length)
    tensors = [parameter.tensor for parameter in bucket]
    return [
        part.reshape(-1)[: each.numel()].view(each.shape) for each, part in zip(tensors, parts, strict=True)
    ]
