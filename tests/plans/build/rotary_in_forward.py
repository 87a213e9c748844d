"""Attention whose rotary positions are complex numbers, made in `forward`."""

import torch
import torch.nn.functional as F
from small_base import Model as Base
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(dim, dim, bias=False) for _ in range(4))

    def rotate(self, x, turns):
        pairs = torch.view_as_complex(x.float().reshape(*x.shape[:-1], -1, 2))
        return torch.view_as_real(pairs * turns).flatten(-2).type_as(x)

    def forward(self, x):
        q, k, v = (w(x).view(*x.shape[:2], -1, 4) for w in (self.wq, self.wk, self.wv))
        places = torch.arange(x.shape[1], device=x.device)
        angles = torch.outer(places, 100.0 ** -torch.arange(0, 1, 0.5, device=x.device))
        turns = torch.polar(torch.ones_like(angles), angles)[:, None]
        q, k = self.rotate(q, turns), self.rotate(k, turns)
        out = F.scaled_dot_product_attention(*(t.transpose(1, 2) for t in (q, k, v)), is_causal=True)
        return x + self.wo(out.transpose(1, 2).flatten(2))


class Model(Base):
    def __init__(self):
        super().__init__(Block)
