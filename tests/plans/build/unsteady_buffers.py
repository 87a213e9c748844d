"""A buffer with other values each time that the constructor runs: its generator has no seed."""

import numpy
import torch
from small_base import Block
from small_base import Model as Base


class Noisy(Block):  # P503
    def __init__(self, dim):
        super().__init__(dim)
        self.register_buffer("scale", torch.from_numpy(numpy.random.default_rng().random(dim)).float())

    def forward(self, x):
        return super().forward(x * self.scale)


class Model(Base):
    def __init__(self):
        super().__init__(Noisy)
