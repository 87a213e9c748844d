"""Products of rows, sorted by expert, with the stacked weights of the experts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

FUSED = (torch.float32, torch.bfloat16)  # of the types that models are trained in, those `grouped_mm` takes
ALIGNED = 16  # bytes that every stride of its operands is a multiple of


class RowCounts:
    """How many rows each expert of this rank has: (E,) integers, on the device of the rows.

    The rows of an expert follow one another, those of the experts in the order of the experts.
    """

    def __init__(self, counts: Tensor) -> None:
        self.counts = counts

    @cached_property
    def ends(self) -> Tensor:
        """Where the rows of each expert end: (E,) int32."""
        return self.counts.cumsum(0, dtype=torch.int32)

    @cached_property
    def numbers(self) -> list[int]:
        """The counts as numbers of the host, which waits for the device."""
        numbers: list[int] = self.counts.tolist()
        return numbers


def grouped_linear(rows: Tensor, weight: Tensor, counts: RowCounts, bias: Tensor | None = None) -> Tensor:
    """rows (R, in), weight (E, out, in), bias (E, out) -> (R, out)"""
    return grouped_matmul(rows, weight.transpose(-2, -1), counts, bias)


def grouped_matmul(rows: Tensor, weight: Tensor, counts: RowCounts, bias: Tensor | None = None) -> Tensor:
    """rows (R, in), weight (E, in, out), bias (E, out) -> (R, out)"""
    product = _multiply(rows, weight, counts)
    return product if bias is None else grouped_add(product, bias, counts)


def _multiply(rows: Tensor, weight: Tensor, counts: RowCounts) -> Tensor:
    if _can_fuse(rows, weight):
        return _DenseGradient.apply(F.grouped_mm(_make_dense(rows), weight, offs=counts.ends))
    parts = zip(torch.split(rows, counts.numbers), weight.unbind(), strict=True)
    return torch.cat([part @ matrix for part, matrix in parts])


def grouped_add(rows: Tensor, vectors: Tensor, counts: RowCounts) -> Tensor:
    """rows (R, width), vectors (E, width): each row and its expert's vector"""
    return rows + _repeat(vectors, counts, len(rows))


def grouped_mul(rows: Tensor, vectors: Tensor, counts: RowCounts) -> Tensor:
    """rows (R, width), vectors (E, width): each row times its expert's vector"""
    return rows * _repeat(vectors, counts, len(rows))


def _repeat(vectors: Tensor, counts: RowCounts, rows: int) -> Tensor:
    # given the size, torch does not wait for the device to compute it
    return vectors.repeat_interleave(counts.counts, dim=0, output_size=rows)


def _can_fuse(rows: Tensor, weight: Tensor) -> bool:
    """Whether one call of `grouped_mm` makes all products. The meta device takes fewer types."""
    if rows.dtype not in FUSED or weight.dtype != rows.dtype or rows.is_meta or not len(weight):
        return False
    widths = weight.shape[1:]  # of the rows, and of the result, whose gradient is an operand as well
    dense = weight.is_contiguous() or weight.transpose(-2, -1).is_contiguous()
    return dense and all(width * rows.itemsize % ALIGNED == 0 for width in widths)


def _make_dense(rows: Tensor) -> Tensor:
    """Row after row in memory. A single row reports that it is contiguous whatever its strides are."""
    packed = rows.stride() == (rows.shape[-1], 1)
    return rows if packed else rows.clone(memory_format=torch.contiguous_format)


class _DenseGradient(Function):
    """The identity. The gradient may be one number, expanded, which `grouped_mm` cannot read."""

    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _make_dense(gradient)
