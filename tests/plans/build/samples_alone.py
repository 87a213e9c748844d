"""A causal convolution of each channel, and a norm over groups of channels."""

import torch.nn.functional as F
from small_base import Feed
from small_base import Model as Base
from torch import nn


class Block(Feed):
    def __init__(self, dim):
        super().__init__(dim)
        self.conv = nn.Conv1d(dim, dim, 3, groups=dim)
        self.norm = nn.GroupNorm(4, dim)

    def forward(self, x):
        x = x + self.norm(self.conv(F.pad(x.transpose(1, 2), (2, 0)))).transpose(1, 2)
        return super().forward(x)


class Model(Base):
    def __init__(self):
        super().__init__(Block)
        self.head = nn.Linear(16, 32, bias=False)
