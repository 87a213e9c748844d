"""Stacked weights that every token goes through: they look like experts, and are none."""

import torch
from torch import nn


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Parameter(torch.randn(4, 16, 32) * 0.1)
        self.down = nn.Parameter(torch.randn(4, 32, 16) * 0.1)

    def forward(self, x):
        h = torch.tanh(torch.einsum("bsd,edf->bsef", x, self.up))
        return torch.einsum("bsef,efd->bsd", h, self.down)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = Mix()

    def forward(self, x):
        return x + self.mix(x)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(256, 16)
        self.h = nn.ModuleList([Layer() for _ in range(2)])
        self.head = nn.Linear(16, 256)

    def forward(self, idx):
        x = self.wte(idx)
        for b in self.h:
            x = b(x)
        return self.head(x)
