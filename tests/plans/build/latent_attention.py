"""Latent attention: norms of low ranks between projections and heads, a rotary key that all heads share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, rank: int, width: int, rotary: int) -> None:
        super().__init__()
        self.heads, self.rank, self.width, self.rotary = heads, rank, width, rotary
        self.down_q = nn.Linear(dim, rank, bias=False)
        self.q_norm = nn.RMSNorm(rank)
        self.up_q = nn.Linear(rank, heads * (width + rotary), bias=False)
        self.down_kv = nn.Linear(dim, rank + rotary, bias=False)
        self.kv_norm = nn.RMSNorm(rank)
        self.up_kv = nn.Linear(rank, heads * 2 * width, bias=False)
        self.out = nn.Linear(heads * width, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        b, s, _ = x.shape
        q = self.up_q(self.q_norm(self.down_q(x))).view(b, s, self.heads, -1).transpose(1, 2)
        latent, shared = self.down_kv(x).split([self.rank, self.rotary], dim=-1)
        k, v = self.up_kv(self.kv_norm(latent)).view(b, s, self.heads, -1).transpose(1, 2).chunk(2, dim=-1)
        shared = shared.view(b, s, 1, self.rotary).transpose(1, 2).expand(-1, self.heads, -1, -1)
        k = torch.cat((k, shared), dim=-1)
        v = F.pad(v, [0, self.rotary])
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)[..., : self.width]
        return self.out(a.transpose(1, 2).reshape(b, s, -1))


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(dim)
        self.attention = Attention(dim, heads, rank=8, width=4, rotary=2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.attention(self.norm(x))


class Model(nn.Module):
    def __init__(self, vocab: int, dim: int, heads: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Layer(dim, heads) for _ in range(2))
        self.head = nn.Linear(dim, vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
