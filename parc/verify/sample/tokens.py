"""The data of a proof: ids that are far from uniform, so that experts get unequal numbers of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

SKEW = 3  # a uniform number to this power: half of the ids lie in the first eighth of the vocabulary


class Tokens:
    """Random ids below `vocabulary`, the same for the same `seed`. The more `skew`, the fewer large ids."""

    def __init__(self, vocabulary: int, seed: int = 0, skew: float = SKEW, length: int = 1 << 17) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.ids = (torch.rand(length, generator=generator) ** skew * vocabulary).long()

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, start: int, length: int) -> Tensor:
        """Ids [start, start + length)."""
        return self.ids[start : start + length]
