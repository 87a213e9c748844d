"""Parameters that communicate together: a few large calls in place of one a parameter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor
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


def fill_up(flat: Tensor, length: int) -> Tensor:
    """A flat tensor with zeros up to a length; the tensor itself where it has that length: `pad` copies."""
    return flat if len(flat) == length else pad(flat, (0, length - len(flat)))
