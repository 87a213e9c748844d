"""A stage of plan `tensor`: the parts of the model that it runs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import Block
from runtime.collectives import I, R, convert
from runtime.layers import VocabEmbedding
from runtime.vocabulary import cross_entropy


class Stage(nn.Module):
    """The embedding, 3 layers from number `first_layer` on, and the loss."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.transformer = nn.ModuleDict(
            {
                "wte": VocabEmbedding(256, 48, self.tp, dst=I),
                "wpe": nn.Embedding(32, 48),
                "h": nn.ModuleDict({str(first_layer + i): Block(mesh) for i in range(3)}),
                "ln_f": nn.LayerNorm(48),
            }
        )

    def forward(self, tokens: Tensor, labels: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.transformer.wte(tokens) + self.transformer.wpe(positions)
        for layer in self.transformer.h.values():
            x = layer(x)
        ln_f = self.transformer.ln_f(x)
        ln_f = convert(ln_f, self.tp, src=I, dst=R)
        logits = F.linear(ln_f, self.transformer.wte.weight)
        return cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="sum", vocabulary=self.tp)
