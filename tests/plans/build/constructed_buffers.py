"""Buffers with the constructor's values: draws of torch, Python and numpy, and the start of a parameter."""

import random

import numpy
import torch
from small_base import Block
from small_base import Model as Base


class Noisy(Block):
    def __init__(self, dim):
        super().__init__(dim)
        self.factor = 0.5 + random.random()
        self.register_buffer("shift", torch.randn(dim), persistent=False)
        self.register_buffer("scale", torch.zeros(dim))
        self.register_buffer("kept", torch.from_numpy(numpy.random.rand(dim) > 0.3))
        self.register_buffer("turned", torch.polar(torch.ones(dim // 2), torch.rand(dim // 2)))
        self.register_buffer("target", self.up.weight.detach().clone())
        self.register_buffer("dropped", torch.bernoulli(torch.full((dim,), 0.9)))
        self.reset()

    def reset(self):
        self.scale.normal_(1.0, 0.2)

    def forward(self, x):
        x = (x * self.scale + self.shift) * self.kept * self.dropped * self.factor
        pairs = torch.view_as_complex(x.unflatten(-1, (-1, 2))) * self.turned
        distance = (self.up.weight - self.target).square().sum()
        return super().forward(torch.view_as_real(pairs).flatten(-2)) + distance


class Model(Base):
    def __init__(self):
        super().__init__(Noisy)
