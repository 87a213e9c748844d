"""Losses in a list that the model hands to its layers."""

from small_base import Block
from small_base import Model as Base


class Appending(Block):  # P505
    def forward(self, x, losses):
        losses.append(x.square().mean())
        return super().forward(x)


class Model(Base):
    def __init__(self):
        super().__init__(block=Appending, vocab=256)

    def forward(self, tokens):
        x, losses = self.embedding(tokens), []
        for layer in self.layers:
            x = layer(x, losses)
        return self.head(x), sum(losses)
