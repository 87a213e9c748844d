"""Initial values that no draw expresses: weight norm, an SVD, a state that is loaded, a ramp of numbers."""

import torch
from small_base import Block
from small_base import Model as Base
from torch import nn
from torch.nn.utils.parametrizations import weight_norm


class Scaled(Block):
    def __init__(self, dim):
        super().__init__(dim)
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.up = weight_norm(self.up)

    def forward(self, x):
        return super().forward(x) * self.scale


class Model(Base):
    def __init__(self, vocab=32, dim=16, layers=2):
        super().__init__(Scaled, vocab, dim, layers)
        left, _, right = torch.linalg.svd(torch.randn(vocab, dim), full_matrices=False)
        self.head.weight.data.copy_(left @ right)
        self.head.bias = nn.Parameter(torch.linspace(-1, 1, vocab))
        table = {"weight": torch.arange(vocab * dim).view(vocab, dim).sin()}
        self.embedding.load_state_dict(table)
