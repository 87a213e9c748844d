"""A layer that gets its shape in the first forward pass."""

from small_base import Model as Base
from torch import nn


class Lazy(nn.Module):  # P502
    def __init__(self, dim):
        super().__init__()
        self.up = nn.LazyLinear(dim)

    def forward(self, x):
        return x + self.up(x)


class Model(Base):
    def __init__(self):
        super().__init__(block=Lazy, vocab=256)
