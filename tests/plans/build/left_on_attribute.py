"""A balance loss that layers leave in an attribute, where the model reads it."""

from small_base import Block
from small_base import Model as Base


class Leaving(Block):
    loss = None

    def forward(self, x):
        self.loss = x.square().mean()
        return super().forward(x)


class Model(Base):
    def __init__(self):
        super().__init__(block=Leaving, vocab=256)

    def forward(self, tokens):
        logits = super().forward(tokens)
        return logits, self.layers[0].loss + self.layers[1].loss  # P505
