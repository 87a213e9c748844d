"""A layer that computes something else from its thirteenth call on."""

import torch
from small_base import Block
from small_base import Model as Base


class Counting(Block):  # P505
    def __init__(self, dim):
        super().__init__(dim)
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x + torch.tanh(self.up(x)) * (0.5 if self.calls > 12 else 1.0)


class Model(Base):
    def __init__(self):
        super().__init__(block=Counting, vocab=256)
