"""A stage of plan `everything`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import MoEBlock
from runtime.collectives import I
from runtime.layers import VocabEmbedding


class Stage(nn.Module):
    """The embedding and 2 layers from number `first_layer` on."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.embedding = VocabEmbedding(256, 16, self.tp, dst=I, dtype=torch.float64)
        self.layers = nn.ModuleDict({str(first_layer + i): MoEBlock(mesh) for i in range(2)})
        device = mesh.device_type
        angles = torch.arange(12, device=device).unsqueeze(1) * 10000.0 ** (
            -torch.arange(0, 4, 2, device=device) / 4
        )
        self.register_buffer("cos", angles.cos().to(torch.float64), persistent=False)
        self.register_buffer("sin", angles.sin().to(torch.float64), persistent=False)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        cos = self.cos[:length]
        sin = self.sin[:length]
        x = self.embedding(tokens)
        balance = x.new_zeros(())
        for layer in self.layers.values():
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        return x, balance
