"""The loss of a step, made of what forward returns for each of its microbatches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.distributed as dist

from .layout import Layout


def scalars(returned: Any) -> torch.Tensor:
    """What the root module returns, `loss`, `(loss,)` or `(loss, balance or None)`, as one tensor: (2,)."""
    loss, balance = (*returned, None)[:2] if isinstance(returned, tuple) else (returned, None)
    return torch.stack([loss, torch.zeros_like(loss) if balance is None else balance])


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How a step's loss is made of (loss, balance) of its microbatches, each rank's being terms of sums.

    Over `loss_axes` (`balance_axes`) the ranks' losses (balance losses) add up to the microbatch's; over
    the other axes they repeat it. A model that returns logits has the sum of its token losses divided by
    the valid labels of the whole step; one that returns its loss has it averaged over the microbatches.
    """

    returns: Literal["logits", "loss"]
    loss_axes: tuple[str, ...] = ()
    balance: float | None = None  # weight; None where the model has no balance loss
    balance_axes: tuple[str, ...] = ()
    ignore_index: int = -100

    def divisor(self, labels: torch.Tensor, layout: Layout) -> int:
        """What the step's losses are divided by; `labels` that this rank predicts: (microbatches, ..)."""
        if self.returns == "loss":
            return len(labels)
        valid = (labels != self.ignore_index).sum()
        layout.sum(valid, layout.data)
        return max(1, int(valid))

    def term(self, packed: torch.Tensor, divisor: int, microbatches: int) -> torch.Tensor:
        """The microbatch's share of the step's loss, to be differentiated; `packed`: its (2,) `scalars`."""
        loss = packed[0] / divisor
        return loss if self.balance is None else loss + self.balance * packed[1] / microbatches

    def report(
        self, packed: torch.Tensor | None, divisor: int, microbatches: int, layout: Layout
    ) -> tuple[float, float]:
        """(loss, balance loss) of the step, on all ranks, from the last stage's (microbatches, 2) scalars."""
        total = torch.zeros(2, dtype=torch.float64, device=layout.mesh.device_type)
        if packed is not None:
            total += packed.sum(0)
            layout.sum(total[0], self.loss_axes)
            layout.sum(total[1], self.balance_axes)
        if layout.pipeline is not None:
            dist.broadcast(total, group_src=layout.stages - 1, group=layout.pipeline)
        loss, balance = total.tolist()
        return loss / divisor, balance / microbatches
