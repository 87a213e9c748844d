"""The error of a tensor, the tolerance for it, and whether one factor explains it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

TOLERANCE = 1e-9  # of `TensorError.error` in float64: 1e3 roundings, amplified where a gradient is near zero
FLOOR = 1e-6  # of the largest gradient: a gradient below that is zero but for rounding
SAME = 1e-6  # by how much a ratio that is meant to be 2 may differ from it


@dataclass(frozen=True)
class TensorError:
    """A tensor compared with the expected one."""

    error: float  # the largest difference, over the largest expected entry or over a floor
    norm: float
    expected_norm: float
    scaled: bool  # one is a multiple of the other

    @property
    def ratio(self) -> float:
        """Of the norms."""
        return self.norm / self.expected_norm if self.expected_norm else math.inf


def compare_tensors(actual: Tensor, expected: Tensor, floor: float) -> TensorError:
    """Compares in float64. The error is infinite where an entry is NaN, or the shapes differ."""
    actual, expected = actual.double(), expected.double()
    norm, expected_norm = float(actual.norm()), float(expected.norm())
    if actual.shape != expected.shape:
        return TensorError(math.inf, norm, expected_norm, scaled=False)
    size = max(find_largest_entry(expected), floor)
    error = find_largest_entry(actual - expected) / (size or 1.0)
    scaled = math.isfinite(norm) and norm > 0 and expected_norm > 0
    if scaled:
        rest = find_largest_entry(actual - expected * (norm / expected_norm))
        scaled = rest <= SAME * max(find_largest_entry(actual), floor)
    return TensorError(math.inf if math.isnan(error) else error, norm, expected_norm, scaled)


def find_largest_entry(tensor: Tensor) -> float:
    """The largest absolute value; 0 where the tensor is empty."""
    return float(tensor.abs().max()) if tensor.numel() else 0.0
