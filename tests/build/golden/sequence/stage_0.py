"""A stage of plan `sequence`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import DenseBlock, MoEBlock, RMSNorm
from runtime.collectives import R, S, all_gather
from runtime.layers import ColumnLinear, VocabEmbedding
from runtime.vocabulary import cross_entropy


class Stage(nn.Module):
    """The embedding, 4 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.n_moe_layers = 3
        self.tp = mesh.get_group("tp")
        self.embedding = VocabEmbedding(256, 32, self.tp, dst=S(1))
        self.layers = nn.ModuleDict(
            {
                str(first_layer + i): layer
                for i, layer in enumerate([DenseBlock(mesh)] + [MoEBlock(mesh) for _ in range(3)])
            }
        )
        self.norm = RMSNorm()
        self.head = ColumnLinear(32, 256, self.tp)
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
        norm = self.norm(x)
        norm = all_gather(norm, self.tp, src=S(1), dst=R)
        logits = self.head(norm)
        loss = cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum", vocabulary=self.tp)
        return loss, balance / self.n_moe_layers
