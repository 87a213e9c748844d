"""Every layer takes off the mean embedding of all tokens, which is a sum over the ranks of every axis."""

from small_base import Feed
from small_base import Model as Base
from torch import nn


class Model(Base):
    def __init__(self):
        super().__init__(Feed)
        self.head = nn.Linear(16, 32, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        mean = x.mean(dim=(0, 1), keepdim=True)
        for layer in self.layers:
            x = layer(x) - mean
        return self.head(x)
