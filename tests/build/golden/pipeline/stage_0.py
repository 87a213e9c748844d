"""A stage of plan `pipeline`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import Layer


class Stage(nn.Module):
    """The embedding and 2 layers from number `first_layer` on."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 32, padding_idx=0)
        self.stack = nn.ModuleDict({str(first_layer + i): Layer(mesh) for i in range(2)})

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        length = tokens.shape[1]
        causal = torch.ones((length, length), dtype=torch.bool, device=tokens.device).tril()
        first = torch.arange(length, device=tokens.device) == 0
        mask = causal & ((tokens != 0).unsqueeze(1).unsqueeze(2) | first)
        x = self.embed(tokens)
        layers = list(self.stack.values())
        x, penalty = layers[0](x, mask)
        x, penalty_2 = layers[1](x, mask)
        return penalty, x, penalty_2
