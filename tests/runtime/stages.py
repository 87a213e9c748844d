"""Stand-ins for the stages of a pipeline: PyTorch's schedules ask for no more before they run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch


def first_ranks(ranks: int, chunks: int) -> list[Any]:
    """Those of rank 0, which hold nothing. Where a V turns is for the schedule to know."""

    def stage(index: int) -> Any:
        return SimpleNamespace(
            group_size=ranks,
            group_rank=0,
            group=None,
            device="cpu",
            num_stages=ranks * chunks,
            stage_index=index,
            is_first=index == 0,
            is_last=index == ranks * chunks - 1,
            submod=torch.nn.Identity(),
            has_backward=False,
        )

    return [stage(chunk * ranks) for chunk in range(chunks)]
