"""A model of four blocks, cut into stages anywhere, whose balance loss travels beside the hidden state."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import functional as F

from parc.runtime.parameters import parameter

VOCABULARY, WIDTH, BLOCKS = 11, 6, 4
NORMAL = (("normal_", 0.0, 0.5),)


class Block(nn.Module):
    def __init__(self, mesh: DeviceMesh, reduce: tuple[str, ...]) -> None:
        super().__init__()
        self.weight = parameter(mesh, (WIDTH, WIDTH), init=NORMAL, reduce=reduce)

    def forward(self, x_BSD: torch.Tensor) -> torch.Tensor:
        return x_BSD + torch.tanh(x_BSD @ self.weight.to_local())


class Stage(nn.Module):
    """Blocks `own` of the model, which returns its loss: the mean over tokens if `mean`, else the sum.

    With `balance` it returns a balance loss too: the blocks' mean squares, each a mean over all `data_ranks`.
    """

    def __init__(
        self,
        mesh: DeviceMesh,
        own: Sequence[int],
        *,
        balance: bool = True,
        mean: bool = False,
        data_ranks: int = 1,
        reduce: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.first, self.last = 0 in own, BLOCKS - 1 in own
        self.balance, self.mean, self.data_ranks = balance, mean, data_ranks
        if self.first:
            self.embedding = parameter(mesh, (VOCABULARY, WIDTH), init=NORMAL, reduce=reduce)
        self.layers = nn.ModuleDict({str(index): Block(mesh, reduce) for index in own})
        if self.last:
            self.head = parameter(mesh, (VOCABULARY, WIDTH), init=NORMAL, reduce=reduce)
        self.calls = 0

    def forward(
        self, x: torch.Tensor, balance: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...] | torch.Tensor:
        self.calls += 1
        if self.first:
            x = F.embedding(x, self.embedding.to_local())
        if balance is None:
            balance = x.new_zeros(())
        for layer in self.layers.values():
            x = layer(x)
            balance = balance + x.square().mean() / self.data_ranks
        if not self.last:
            return (x.mT.contiguous().mT, balance) if self.balance else x  # not contiguous, on purpose
        assert labels is not None
        logits = F.linear(x, self.head.to_local())
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        if self.mean:
            loss = loss / (labels.numel() * self.data_ranks)
        return (loss, balance) if self.balance else loss
