"""Parameters whose update is shared between ranks: each rank gets the others' slices after the update."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from .buckets import fill_buckets, fill_up
from .placement import PlacedParameter


class SharedUpdates:
    """The parameters of which this rank updates a slice.

    What is sent are the rounded tensors that the model computes with; each rank keeps its masters to itself.
    """

    def __init__(self, parameters: Iterable[PlacedParameter], mesh: DeviceMesh) -> None:
        alike: dict[tuple[tuple[str, ...], torch.dtype], list[PlacedParameter]] = defaultdict(list)
        for parameter in parameters:
            if parameter.slice is not None:
                alike[parameter.slice.axes, parameter.tensor.dtype].append(parameter)
        self._buckets = [
            (bucket, [mesh.get_group(axis) for axis in axes])  # outermost first, as slices are numbered
            for (axes, _), members in alike.items()
            for bucket in fill_buckets(members)
        ]

    def gather(self) -> None:
        """Completes the parameters, of which this rank has updated its slice."""
        for bucket, groups in self._buckets:
            _gather_together(bucket, groups)


def _gather_together(bucket: list[PlacedParameter], groups: Iterable[dist.ProcessGroup]) -> None:
    tensors, lengths = [], []
    for parameter in bucket:
        assert parameter.slice is not None
        tensors.append(parameter.tensor.detach())
        lengths.append(parameter.slice.length)
    slices = [parameter.select_slice(tensor) for parameter, tensor in zip(bucket, tensors, strict=True)]
    pairs = zip(slices, lengths, strict=True)
    flat = torch.cat([fill_up(each, length) for each, length in pairs])
    for group in groups:
        whole = flat.new_empty(group.size() * flat.numel())
        dist.all_gather_single(whole, flat, group=group)
        flat = whole
    parts = torch.split(flat.view(-1, sum(lengths)), lengths, dim=1)  # of each parameter: (ranks, length)
    values = [
        part.reshape(-1)[: each.numel()].view_as(each) for each, part in zip(tensors, parts, strict=True)
    ]
    torch._foreach_copy_(tensors, values)
