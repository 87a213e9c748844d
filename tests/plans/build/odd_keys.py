"""Modules and parameters are kept in dicts whose keys are Python keywords, or no identifiers at all."""

import torch
import torch.nn.functional as F
from torch import nn


class FeedForwards(nn.Module):
    def __init__(self, dim, ffn, n):
        super().__init__()
        self.weights = nn.ParameterDict(
            {
                "gate/up": nn.Parameter(torch.empty(n, 2 * ffn, dim).normal_(std=0.05)),
                "lambda": nn.Parameter(torch.empty(n, dim, ffn).normal_(std=0.05)),
            }
        )

    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for e in range(self.weights["lambda"].shape[0]):
            row, choice = torch.where(indices == e)
            gate, up = F.linear(tokens[row], self.weights["gate/up"][e]).chunk(2, dim=-1)
            out.index_add_(
                0, row, F.linear(F.silu(gate) * up, self.weights["lambda"][e]) * weights[row, choice, None]
            )
        return out


class Block(nn.Module):
    def __init__(self, dim, heads, ffn, n, k):
        super().__init__()
        self.heads, self.k = heads, k
        self.parts = nn.ModuleDict(
            {
                "pre-norm": nn.LayerNorm(dim),
                "1st": nn.Linear(dim, 3 * dim),
                "from": nn.Linear(dim, dim),
                "post-norm": nn.LayerNorm(dim),
                "if": nn.Linear(dim, n, bias=False),
                "class": FeedForwards(dim, ffn, n),
            }
        )

    def forward(self, x):
        b, s, d = x.shape
        p = self.parts
        q, k, v = p["1st"](p["pre-norm"](x)).view(b, s, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + p["from"](y.transpose(1, 2).reshape(b, s, d))
        flat = p["post-norm"](x).view(b * s, d)
        w, i = torch.topk(torch.softmax(p["if"](flat), -1), self.k)
        return x + p["class"](flat, i, w).view(b, s, d)


class Model(nn.Module):
    def __init__(self, layers=4, dim=32, heads=4, ffn=48, experts=4, top_k=2, vocab=64, length=16):
        super().__init__()
        self.net = nn.ModuleDict(
            {
                "in": nn.Embedding(vocab, dim),
                "in-position": nn.Embedding(length, dim),
                "while": nn.ModuleList([Block(dim, heads, ffn, experts, top_k) for _ in range(layers)]),
                "final-norm": nn.LayerNorm(dim),
                "out 1": nn.Linear(dim, vocab, bias=False),
            }
        )

    def forward(self, tokens):
        x = self.net["in"](tokens) + self.net["in-position"].weight[: tokens.shape[1]]
        for block in self.net["while"]:
            x = block(x)
        return self.net["out 1"](self.net["final-norm"](x))
