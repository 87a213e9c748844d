"""Every layer takes off the mean embedding of all tokens, which is a sum over the ranks of every axis."""

from small_base import Model as Base
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, 2 * dim)
        self.down = nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


class Model(Base):
    def __init__(self):
        super().__init__(Block)
        self.head = nn.Linear(16, 32, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        mean = x.mean(dim=(0, 1), keepdim=True)
        for layer in self.layers:
            x = layer(x) - mean
        return self.head(x)
