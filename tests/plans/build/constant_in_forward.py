"""A tensor of Python values that `forward` makes."""

import torch
from small_base import Block
from small_base import Model as Base


class Scaled(Block):
    def forward(self, x):
        return super().forward(x * torch.tensor(0.3))  # P505


class Model(Base):
    def __init__(self):
        super().__init__(Scaled)
