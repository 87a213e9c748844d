"""Products of rows, sorted by expert, with the stacked weights of the experts.

`counts` says how many rows each expert has; they follow one another in the order of the experts.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

FUSED = (torch.float32, torch.bfloat16)  # of the types that models are trained in, those `grouped_mm` takes
ALIGNED = 16  # bytes that every stride of its operands is a multiple of


def grouped_linear(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    """rows (R, in), weight (E, out, in) -> (R, out)"""
    return grouped_matmul(rows, weight.transpose(-2, -1), counts)


def grouped_matmul(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    """rows (R, in), weight (E, in, out) -> (R, out)"""
    if _fuses(rows, weight):
        ends = torch.tensor(list(accumulate(counts)), dtype=torch.int32, device=rows.device)
        return _DenseGradient.apply(F.grouped_mm(_dense(rows), weight, offs=ends))
    parts = [part @ matrix for part, matrix in zip(torch.split(rows, counts), weight.unbind(), strict=True)]
    return torch.cat(parts)


def grouped_add(rows: Tensor, vectors: Tensor, counts: list[int]) -> Tensor:
    """rows (R, width), vectors (E, width): each row and its expert's vector"""
    return rows + _repeated(vectors, counts)


def grouped_mul(rows: Tensor, vectors: Tensor, counts: list[int]) -> Tensor:
    """rows (R, width), vectors (E, width): each row times its expert's vector"""
    return rows * _repeated(vectors, counts)


def _repeated(vectors: Tensor, counts: list[int]) -> Tensor:
    # told the size, torch need not wait for the device to say it
    repeats = torch.tensor(counts, device=vectors.device)
    return vectors.repeat_interleave(repeats, dim=0, output_size=sum(counts))


def _fuses(rows: Tensor, weight: Tensor) -> bool:
    """Whether one call of `grouped_mm` makes all products. The meta device takes fewer types."""
    if rows.dtype not in FUSED or weight.dtype != rows.dtype or rows.is_meta or not len(weight):
        return False
    widths = weight.shape[1:]  # of the rows, and of the result, whose gradient is an operand as well
    dense = weight.is_contiguous() or weight.transpose(-2, -1).is_contiguous()
    return dense and all(width * rows.itemsize % ALIGNED == 0 for width in widths)


def _dense(rows: Tensor) -> Tensor:
    """Row after row in memory. A single row calls itself contiguous whatever its strides say."""
    packed = rows.stride() == (rows.shape[-1], 1)
    return rows if packed else rows.clone(memory_format=torch.contiguous_format)


class _DenseGradient(Function):
    """The value itself. Its gradient may be one number, expanded, which `grouped_mm` cannot read."""

    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _dense(gradient)
