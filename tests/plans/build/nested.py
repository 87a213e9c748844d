"""The layers lie in a module of their own, beside an embedding and a norm, as in Hugging Face models."""

import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.fc = nn.Linear(d, 2 * d)
        self.out = nn.Linear(2 * d, d)

    def forward(self, x):
        return x + self.out(F.gelu(self.fc(self.norm(x))))


class Core(nn.Module):
    def __init__(self, v, d, n):
        super().__init__()
        self.embed = nn.Embedding(v, d)
        self.layers = nn.ModuleList(Block(d) for _ in range(n))
        self.norm = nn.LayerNorm(d)

    def forward(self, x):
        x = self.embed(x)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


class Model(nn.Module):
    def __init__(self, v=32, d=16, n=2):
        super().__init__()
        self.core = Core(v, d, n)
        self.head = nn.Linear(d, v)

    def forward(self, tokens):
        return self.head(self.core(tokens))
