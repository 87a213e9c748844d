"""A stage of plan `data_and_experts`: the parts of the model that it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import DenseBlock, MoEBlock, RMSNorm


class Stage(nn.Module):
    """The embedding, 4 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.n_moe_layers = 3
        self.embedding = nn.Embedding(256, 32)
        self.layers = nn.ModuleDict(
            {
                str(first_layer + i): layer
                for i, layer in enumerate([DenseBlock()] + [MoEBlock(mesh) for _ in range(3)])
            }
        )
        self.norm = RMSNorm()
        self.head = nn.Linear(32, 256, bias=False)
        device = mesh.device_type
        angles = torch.arange(20, device=device).unsqueeze(1) * 10000.0 ** (
            -torch.arange(0, 8, 2, device=device) / 8
        )
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        cos = self.cos[:length]
        sin = self.sin[:length]
        x = self.embedding(tokens)
        balance = x.new_zeros(())
        for layer in self.layers.values():
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        logits = self.head(self.norm(x))
        loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")
        return loss, balance / self.n_moe_layers
