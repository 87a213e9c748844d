"""Gradients are switched off for a part of `forward`."""

import torch
from small_base import Block
from small_base import Model as Base


class Scaled(Block):
    def forward(self, x):
        with torch.set_grad_enabled(False):
            scale = x.abs().mean()  # P505
        return x + self.up(x) * scale


class Model(Base):
    def __init__(self):
        super().__init__(Scaled)
