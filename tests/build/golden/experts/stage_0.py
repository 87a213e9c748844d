"""A stage of plan `experts`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import SwitchBlock
from runtime.vocabulary import cross_entropy


class Stage(nn.Module):
    """The embedding, 3 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.penalty_weight = 0.01
        self.ep = mesh.get_group("ep")
        self.symbols = nn.Embedding(256, 32)
        self.places = nn.Embedding(24, 32)
        self.blocks = nn.ModuleDict({str(first_layer + i): SwitchBlock(mesh) for i in range(3)})
        self.ln = nn.LayerNorm(32)
        self.unembed = nn.Linear(32, 256)

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        h = self.symbols(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        penalties = h.new_zeros(())
        for layer in self.blocks.values():
            h, penalty = layer(h)
            penalties = penalties + penalty
        scores = self.unembed(self.ln(h))
        loss = cross_entropy(scores.flatten(0, 1), labels.flatten(), reduction="mean", tokens=(self.ep,))
        return loss + penalties * self.penalty_weight / 3
