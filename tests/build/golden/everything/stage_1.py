"""A stage of plan `everything`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import MoEBlock, RMSNorm
from runtime.collectives import I, R, convert
from runtime.layers import ColumnLinear
from runtime.vocabulary import cross_entropy


class Stage(nn.Module):
    """2 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.n_moe_layers = 4
        self.tp = mesh.get_group("tp")
        self.layers = nn.ModuleDict({str(first_layer + i): MoEBlock(mesh) for i in range(2)})
        self.norm = RMSNorm()
        self.head = ColumnLinear(16, 256, self.tp, dtype=torch.float64)
        device = mesh.device_type
        angles = torch.arange(12, device=device).unsqueeze(1) * 10000.0 ** (
            -torch.arange(0, 4, 2, device=device) / 4
        )
        self.register_buffer("cos", angles.cos().to(torch.float64), persistent=False)
        self.register_buffer("sin", angles.sin().to(torch.float64), persistent=False)

    def forward(self, x: Tensor, balance: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        length = x.shape[1]
        cos = self.cos[:length]
        sin = self.sin[:length]
        for layer in self.layers.values():
            x, layer_balance = layer(x, cos, sin)
            balance = balance + layer_balance
        norm = self.norm(x)
        norm = convert(norm, self.tp, src=I, dst=R)
        logits = self.head(norm)
        loss = cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum", vocabulary=self.tp)
        return loss, balance / self.n_moe_layers
