"""A stage of plan `uneven_pipeline`: the parts of the model that it runs."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from model import SwitchBlock
from runtime.collectives import I
from runtime.layers import VocabEmbedding


class Stage(nn.Module):
    """The embedding and layer `first_layer`."""

    def __init__(self, mesh: DeviceMesh, first_layer: int) -> None:
        super().__init__()
        self.tp = mesh.get_group("tp")
        self.symbols = VocabEmbedding(256, 32, self.tp, dst=I)
        self.places = nn.Embedding(24, 32)
        self.blocks = nn.ModuleDict({str(first_layer): SwitchBlock(mesh)})

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        length = tokens.shape[1]
        h = self.symbols(tokens) + self.places(torch.arange(length, device=tokens.device))
        penalties = h.new_zeros(())
        (layer,) = self.blocks.values()
        h, penalty = layer(h)
        penalties = penalties + penalty
        return h, penalties
