"""Rotary positions as complex numbers, which a cast to another type must keep complex."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, dim)
        angles = torch.outer(torch.arange(8.0), 0.5 ** torch.arange(dim // 2))
        self.register_buffer("turns", torch.polar(torch.ones_like(angles), angles), persistent=False)

    def forward(self, x):
        pairs = torch.view_as_complex(self.up(x).unflatten(-1, (-1, 2)))
        x = x + torch.view_as_real(pairs * self.turns[: x.shape[1]]).flatten(-2)
        return x + torch.fft.fft(x, dim=-1).real / x.shape[-1]


class Model(nn.Module):
    def __init__(self, vocab=32, dim=16, layers=2):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Block(dim) for _ in range(layers))
        self.head = nn.Linear(dim, vocab)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
