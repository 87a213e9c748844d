"""One random buffer that two layers hold."""

import torch
from small_base import Block
from small_base import Model as Base


class Noisy(Block):  # P503
    def __init__(self, dim, scale):
        super().__init__(dim)
        self.register_buffer("scale", scale)

    def forward(self, x):
        return super().forward(x * self.scale)


class Model(Base):
    def __init__(self):
        scale = torch.randn(16)
        super().__init__(lambda dim: Noisy(dim, scale))
