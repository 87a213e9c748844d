"""A tuple that goes from layer to layer, and a part of it that the model drops."""

from small_base import Block
from torch import nn


class Passing(Block):
    def forward(self, given):
        x, mask, loss = given
        x = super().forward(x * mask)
        return x, mask, loss + x.square().mean()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(256, 16)
        self.layers = nn.Sequential(Passing(16), Passing(16))
        self.head = nn.Linear(16, 256)

    def forward(self, tokens):
        mask = (tokens != 9).unsqueeze(-1)
        x = self.embedding(tokens)
        x, _, loss = self.layers((x, mask, x.new_zeros(())))
        return self.head(x), loss
