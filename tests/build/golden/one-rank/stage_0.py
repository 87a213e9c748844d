"""A stage of plan `one_rank`: the parts of the model that it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import Layer


class Stage(nn.Module):
    """The embedding, 3 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(256, 32, padding_idx=0)
        self.stack = nn.ModuleDict({str(first_layer + i): Layer(mesh) for i in range(3)})
        self.head = nn.Linear(32, 256, bias=False)

    def forward(self, tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        causal = torch.ones((length, length), dtype=torch.bool, device=tokens.device).tril()
        first = torch.arange(length, device=tokens.device) == 0
        mask = causal & ((tokens != 0).unsqueeze(1).unsqueeze(2) | first)
        x = self.embed(tokens)
        layers = list(self.stack.values())
        x, penalty = layers[0](x, mask)
        x, penalty_2 = layers[1](x, mask)
        x, penalty_3 = layers[2](x, mask)
        logits = self.head(x)
        loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum")
        return loss, torch.stack((penalty, penalty_2, penalty_3)).mean()
