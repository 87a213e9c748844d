"""Norms of several forms, and parameters of one dim that belong to none."""

import torch
from small_base import Model as Base
from torch import nn


class OffsetNorm(nn.Module):
    """An RMS norm whose weight is added to one, as Gemma has it."""

    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        scaled = x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6)
        return (scaled * (1.0 + self.weight.float())).type_as(x)


class UnitNorm(nn.Module):
    """A norm of length one, with a shift."""

    def __init__(self, dim):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(dim))
        self.shift = nn.Parameter(torch.zeros(dim))

    def forward(self, x):
        return x / x.norm(dim=-1, keepdim=True) * self.gain + self.shift


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.first = OffsetNorm(dim)
        self.up = nn.Linear(dim, 2 * dim)
        self.second = UnitNorm(dim)
        self.down = nn.Linear(2 * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.1))
        self.last = nn.RMSNorm(dim)

    def forward(self, x):
        hidden = self.up(self.first(x)).relu()
        return self.last(x + self.scale * self.down(hidden) + self.second(x))


class Model(Base):
    def __init__(self):
        super().__init__(block=Block)
