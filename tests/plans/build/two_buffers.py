"""Two buffers begin alike, and one of them is changed."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, dim)
        mask = torch.full((dim,), 0.5)
        mask[3] = 0.0
        self.register_buffer("mask", mask)
        self.register_buffer("halves", torch.full((dim,), 0.5))

    def forward(self, x):
        return x + self.up(x * self.halves) * self.mask


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
