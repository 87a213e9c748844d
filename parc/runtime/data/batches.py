"""The batches of a run.

Which tokens a step sees depends on the seed and the step alone: a layout changes who reads them, never what.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .datasets import Dataset, require_known
from .order import Shuffle


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """The global batch of a step: `sequences` of `length` ids, in `microbatches` parts.

    `shift` states who pairs a position with the id after it: "data" makes the labels the next ids, "model"
    passes the ids as labels too. `vocabulary` is the number of ids that the model knows, where it is known.
    """

    sequences: int
    length: int
    microbatches: int
    seed: int
    shift: Literal["data", "model"] = "data"
    vocabulary: int | None = None


class Batches:
    """The batch of each step, read from `dataset`.

    The text is cut into windows, and each pass over it takes them in a new order that the seed fixes; the
    sequences of a run are numbered in that order. An id outside of the vocabulary raises ValueError: a
    sharded embedding would look it up as zero. `check_ids` reports it before the first step.
    """

    def __init__(self, dataset: Dataset, settings: BatchSettings) -> None:
        self.dataset, self.settings = dataset, settings
        # the label of a window's last id is the next one's first
        self.windows = (len(dataset) - 1) // settings.length
        if self.windows < 1:
            raise ValueError(f"the data has {len(dataset)} ids; one sequence needs {settings.length + 1}")

    def load(self, step: int, data_rank: int = 0, data_ranks: int = 1) -> tuple[Tensor, Tensor]:
        """Tokens and labels of one data rank at `step`: int64, (microbatches, sequences of a rank, length).

        Microbatch i is sequences [iB/m, (i+1)B/m) of the step; data rank d takes its d-th slice of each.
        """
        of = self.settings
        of_microbatch = of.sequences // of.microbatches
        of_rank = of_microbatch // data_ranks
        first = step * of.sequences + data_rank * of_rank
        rows = [
            self.read_sequence(first + microbatch * of_microbatch + row)
            for microbatch in range(of.microbatches)
            for row in range(of_rank)
        ]
        ids = torch.stack(rows).view(of.microbatches, of_rank, of.length + 1)
        if of.vocabulary is not None:
            least = int(ids[..., :-1].min())  # the last one is a label alone, which may be one to ignore
            require_known(least, int(ids.max()), of.vocabulary)
        tokens = ids[..., :-1].contiguous()
        return tokens, ids[..., 1:].contiguous() if of.shift == "data" else tokens

    def select_predicted(self, labels: Tensor) -> Tensor:
        """Those of a step's labels that some position predicts: (.., length), or one less."""
        return labels[..., 1:] if self.settings.shift == "model" else labels

    def read_sequence(self, number: int) -> Tensor:
        """The ids of sequence `number` of the run, and the one that follows them: (length + 1,) int64."""
        epoch, index = divmod(number, self.windows)
        order = Shuffle(self.windows, f"{self.settings.seed}/{epoch}")
        return self.dataset.read(order(index) * self.settings.length, self.settings.length + 1)
