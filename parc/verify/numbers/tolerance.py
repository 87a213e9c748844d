"""How far two tensors are apart, and whether a number is all that parts them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

TOLERANCE = 1e-9  # of `Gap.error` in float64: some 1e3 roundings, amplified where a gradient is almost zero
SAME = 1e-6  # by how much a ratio that is meant to be 2 may miss it


@dataclass(frozen=True)
class Gap:
    """A tensor against what it should be."""

    error: float  # largest difference over the largest entry expected, or over a floor
    found: float  # 2-norms
    expected: float
    scaled: bool  # the one is a multiple of the other

    @property
    def ratio(self) -> float:
        """Of the norms."""
        return self.found / self.expected if self.expected else math.inf


def gap(mine: Tensor, expected: Tensor, floor: float) -> Gap:
    """Both in float64. An entry that is not a number, or another shape, is infinitely far away."""
    mine, expected = mine.double(), expected.double()
    if mine.shape != expected.shape:
        return Gap(math.inf, float(mine.norm()), float(expected.norm()), scaled=False)
    found, norm = float(mine.norm()), float(expected.norm())
    size = max(_largest(expected), floor)
    error = _largest(mine - expected) / size if size else _largest(mine - expected)
    multiple = bool(norm) and math.isfinite(found) and found > 0
    apart = _largest(mine - expected * (found / norm)) if multiple else math.inf
    scaled = multiple and apart <= SAME * max(_largest(mine), floor)
    return Gap(error if error == error else math.inf, found, norm, scaled)


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0
