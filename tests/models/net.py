"""A small model with all that a plan can cut. Tests break one line of it at a time."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads, kv_heads):
        super().__init__()
        self.head = width // heads
        self.q = nn.Linear(width, heads * self.head, bias=False)
        self.k = nn.Linear(width, kv_heads * self.head, bias=False)
        self.v = nn.Linear(width, kv_heads * self.head, bias=False)
        self.out = nn.Linear(heads * self.head, width, bias=False)

    def forward(self, x):
        batch, length, _ = x.shape
        q = self.q(x).view(batch, length, -1, self.head).transpose(1, 2)
        k = self.k(x).view(batch, length, -1, self.head).transpose(1, 2)
        v = self.v(x).view(batch, length, -1, self.head).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class Feed(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.up = nn.Linear(width, inner, bias=False)
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        hidden = F.relu(self.up(x))
        return self.down(hidden)


class Experts(nn.Module):
    def __init__(self, count, width, inner):
        super().__init__()
        self.up = nn.Parameter(torch.randn(count, inner, width) * 0.3)
        self.down = nn.Parameter(torch.randn(count, width, inner) * 0.3)

    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for expert in range(self.up.shape[0]):
            row, choice = torch.where(indices == expert)
            hidden = F.relu(F.linear(tokens[row], self.up[expert]))
            out.index_add_(0, row, F.linear(hidden, self.down[expert]) * weights[row, choice, None])
        return out


class Layer(nn.Module):
    def __init__(self, width, heads, kv_heads, inner, experts):
        super().__init__()
        self.attention = Attention(width, heads, kv_heads)
        self.feed = Feed(width, inner)
        self.router = nn.Linear(width, experts, bias=False)
        self.experts = Experts(experts, width, inner)

    def forward(self, x):
        x = x + self.attention(x)
        x = x + self.feed(x)
        tokens = x.flatten(0, 1)
        weights, indices = self.router(tokens).softmax(-1).topk(1)
        return x + self.experts(tokens, indices, weights).view_as(x)


class Net(nn.Module):
    def __init__(self, layers=2, width=16, heads=4, kv_heads=2, inner=12, experts=4, vocab=32):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList([Layer(width, heads, kv_heads, inner, experts) for _ in range(layers)])
        self.head = nn.Linear(width, vocab, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
