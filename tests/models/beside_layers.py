"""Parameters in many places beside the list of layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.gelu(self.up(self.norm(x))))


class Positions(nn.Module):
    """Returns a view of its parameter."""

    def __init__(self, context: int, width: int) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.zeros(context, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.rows[: tokens.shape[1]]


class BesideLayers(nn.Module):
    """The head is the embedding, a second list comes before the layers, and a norm is called twice."""

    def __init__(self, n_layers: int, width: int, vocab: int, context: int) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab, width)
        self.positions = Positions(context, width)
        self.early = nn.ModuleList(Layer(width) for _ in range(2))
        self.layers = nn.ModuleList(Layer(width) for _ in range(n_layers))
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.table(tokens) + self.positions(tokens))
        for layer in self.early:
            x = layer(x)
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.mix(self.norm(x)) * self.scale, self.table.weight)
