"""The data of a proof: ids that are far from uniform, so that experts get unequal numbers of tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from parc.plan.blocks import Train
from parc.runtime.batches import Batches, BatchSettings
from parc.runtime.datasets import Dataset

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


def build_batches(train: Train, dataset: Dataset) -> Batches:
    """The batch of each step of a training run."""
    batch = train.batch
    settings = BatchSettings(
        sequences=batch.sequences,
        length=batch.length,
        microbatches=batch.microbatches,
        seed=train.seed,
        shift=train.loss.shift,
    )
    return Batches(dataset, settings)
