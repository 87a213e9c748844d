"""A model of four blocks, cut into stages anywhere, whose balance loss travels beside the hidden state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import functional as F

from parc.runtime.placement import Placement, Precision
from parc.runtime.stages import StageSpec

VOCABULARY, WIDTH, BLOCKS = 11, 6, 4
SINGLE = Precision(master=torch.float32, gradients=torch.float32)
DOUBLE = Precision(master=torch.float64, gradients=torch.float64)
NORMAL = (("normal_", 0.0, 0.5),)


def placements(reduce: tuple[str, ...] = ()) -> Mapping[str, Placement]:
    """Every parameter is whole on each rank; gradients are sums over `reduce`."""
    return {
        "embedding": Placement((VOCABULARY, WIDTH), init=NORMAL, reduce=reduce),
        "layers.*.weight": Placement((WIDTH, WIDTH), init=NORMAL, reduce=reduce),
        "head": Placement((VOCABULARY, WIDTH), init=NORMAL, reduce=reduce),
    }


def list_specs(count: int, between: tuple[torch.Tensor, ...]) -> list[StageSpec]:
    """Of `count` stages, which send each other values like `between`; the last one takes the labels."""

    def refuse(_mesh: DeviceMesh, _first_layer: int) -> nn.Module:
        raise AssertionError("stages are built by the test")

    inner = StageSpec(build=refuse, outputs=between)
    return [*[inner] * (count - 1), StageSpec(build=refuse, keywords=("labels",))]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(WIDTH, WIDTH))

    def forward(self, x_BSD: torch.Tensor) -> torch.Tensor:
        return x_BSD + torch.tanh(x_BSD @ self.weight)


class Stage(nn.Module):
    """Blocks `own` of the model, which returns its loss: the mean over tokens if `mean`, else the sum.

    With `balance` it returns a balance loss too: the blocks' mean squares, each a mean over all `data_ranks`.
    """

    def __init__(
        self, own: Sequence[int], *, balance: bool = True, mean: bool = False, data_ranks: int = 1
    ) -> None:
        super().__init__()
        self.first, self.last = 0 in own, BLOCKS - 1 in own
        self.balance, self.mean, self.data_ranks = balance, mean, data_ranks
        if self.first:
            self.embedding = nn.Parameter(torch.empty(VOCABULARY, WIDTH))
        self.layers = nn.ModuleDict({str(index): Block() for index in own})
        if self.last:
            self.head = nn.Parameter(torch.empty(VOCABULARY, WIDTH))
        self.calls = 0

    def forward(
        self, x: torch.Tensor, balance: torch.Tensor | None = None, labels: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, ...] | torch.Tensor:
        self.calls += 1
        if self.first:
            x = F.embedding(x, self.embedding)
        if balance is None:
            balance = x.new_zeros(())
        for layer in self.layers.values():
            x = layer(x)
            balance = balance + x.square().mean() / self.data_ranks
        if not self.last:
            # on purpose not contiguous, or a view
            return (x.mT.contiguous().mT, balance) if self.balance else x.view(x.shape)
        assert labels is not None
        logits = F.linear(x, self.head)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")
        if self.mean:
            loss = loss / (labels.numel() * self.data_ranks)
        return (loss, balance) if self.balance else loss
