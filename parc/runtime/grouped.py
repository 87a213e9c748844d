"""Products of rows, sorted by expert, with the stacked weights of the experts.

`counts` says how many rows each expert has; they follow one another in the order of the experts.
"""

from __future__ import annotations

import torch
from torch import Tensor


def grouped_linear(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    """rows (R, in), weight (E, out, in) -> (R, out)"""
    return grouped_matmul(rows, weight.transpose(-2, -1), counts)


def grouped_matmul(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    """rows (R, in), weight (E, in, out) -> (R, out)"""
    parts = [part @ matrix for part, matrix in zip(torch.split(rows, counts), weight.unbind(), strict=True)]
    return torch.cat(parts)


def grouped_add(rows: Tensor, vectors: Tensor, counts: list[int]) -> Tensor:
    """rows (R, width), vectors (E, width): each row and its expert's vector"""
    return rows + _repeated(vectors, counts)


def grouped_mul(rows: Tensor, vectors: Tensor, counts: list[int]) -> Tensor:
    """rows (R, width), vectors (E, width): each row times its expert's vector"""
    return rows * _repeated(vectors, counts)


def _repeated(vectors: Tensor, counts: list[int]) -> Tensor:
    return vectors.repeat_interleave(torch.tensor(counts, device=vectors.device), dim=0)
