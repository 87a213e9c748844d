"""Attention whose queries and keys are normed over all heads together (OLMoE, OLMo 2, MiniMax-M2)."""

import torch
import torch.nn.functional as F
from torch import nn


class Norm(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Layer(nn.Module):
    def __init__(self, dim, heads, wide):
        super().__init__()
        self.d, self.wide = dim // heads, wide
        self.norm = Norm(dim)
        self.wq, self.wk, self.wv, self.wo = (nn.Linear(dim, dim, bias=False) for _ in range(4))
        if wide:
            self.q_norm, self.k_norm = Norm(dim), Norm(dim)

    def forward(self, x):
        b, s, h = x.shape
        y = self.norm(x)
        q, k, v = self.wq(y), self.wk(y), self.wv(y)
        if self.wide:
            q, k = self.q_norm(q), self.k_norm(k)
        q, k, v = (t.view(b, s, -1, self.d).transpose(1, 2) for t in (q, k, v))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return x + self.wo(a.transpose(1, 2).reshape(b, s, h))


class Model(nn.Module):
    def __init__(self, vocab, dim, heads, wide):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Layer(dim, heads, wide) for _ in range(2))
        self.head = nn.Linear(dim, vocab, bias=False)
        for p in self.parameters():
            if p.ndim > 1:
                nn.init.normal_(p, std=0.3)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
