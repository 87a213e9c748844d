"""Layers whose entries, and whole tokens, are set through masks."""

from small_base import Feed
from small_base import Model as Base


class Block(Feed):
    def forward(self, x):
        h = self.up(x).clone()
        h[h < 0] = 0.0
        h[x.sum(-1) > 1] = x.mean()
        return x + self.down(h)


class Model(Base):
    def __init__(self):
        super().__init__(Block)
