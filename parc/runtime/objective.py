"""The loss of a step, from what forward returns for each of its microbatches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from .topology import Topology

Returned: TypeAlias = Tensor | Sequence[Tensor | None]
"""What a root module returns: `loss`, `(loss,)` or `(loss, balance or None)`."""


def pack_losses(returned: Returned) -> Tensor:
    """The loss and the balance loss of one microbatch as one tensor: (2,)."""
    loss, balance = (returned, None) if isinstance(returned, Tensor) else (*returned, None)[:2]
    assert loss is not None
    return torch.stack([loss, torch.zeros_like(loss) if balance is None else balance])


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How a step's loss follows from (loss, balance) of its microbatches; each rank has terms of sums.

    Over `loss_axes` (`balance_axes`) the ranks' losses (balance losses) add up to the microbatch's; over
    the other axes they repeat it. A model that returns logits has the sum of its token losses divided by
    the valid labels of the whole step; one that returns its loss has it averaged over the microbatches.
    """

    returns: Literal["logits", "loss"]
    loss_axes: tuple[str, ...] = ()
    balance: float | None = None  # weight; None where the model has no balance loss
    balance_axes: tuple[str, ...] = ()
    balance_ranks: int = 1  # that have a balance loss each, of its own tokens; their mean is the microbatch's
    ignore_index: int = -100

    def compute_divisor(self, labels: Tensor, topology: Topology) -> Tensor:
        """What the step's losses are divided by, a scalar; `labels` of this rank: (microbatches, ..)."""
        if self.returns == "loss":
            return torch.tensor(len(labels), device=labels.device)
        valid = (labels != self.ignore_index).sum()
        topology.sum(valid, topology.data)
        return valid.clamp(min=1)

    def compute_term(self, packed: Tensor, divisor: Tensor, microbatches: int) -> Tensor:
        """The microbatch's share of the step's loss, to be differentiated; `packed` as of `pack_losses`."""
        loss = packed[0] / divisor
        if self.balance is None:
            return loss
        return loss + self.balance * packed[1] / (microbatches * self.balance_ranks)

    def compute_total(
        self, packed: Tensor | None, divisor: Tensor, microbatches: int, topology: Topology
    ) -> Tensor:
        """Loss and balance loss of the step, on all ranks: (2,) float64.

        `packed` is (microbatches, 2) on the ranks of the last stage, None on the others.
        """
        total = torch.zeros(2, dtype=torch.float64, device=topology.mesh.device_type)
        if packed is not None:
            total += packed.sum(0)
            topology.sum(total[0], self.loss_axes)
            topology.sum(total[1], self.balance_axes)
        if topology.pipeline is not None:
            dist.broadcast(total, group_src=topology.loss_rank, group=topology.pipeline)
        balances = torch.full_like(divisor, microbatches * self.balance_ranks)
        return total / torch.stack([divisor, balances])
