"""Upcycling: every expert begins as a copy of one feed-forward layer. The second layer of the model begins as
a copy of the first.
"""

import copy

import torch
from torch import nn
from torch.nn import functional


class FeedForward(nn.Module):
    def __init__(self, dim, inner):
        super().__init__()
        self.up = nn.Linear(dim, inner)
        self.down = nn.Linear(inner, dim)

    def forward(self, x):
        return self.down(functional.gelu(self.up(x)))


class Experts(nn.Module):
    def __init__(self, dense, count):
        super().__init__()
        self.experts = nn.ModuleList(copy.deepcopy(dense) for _ in range(count))

    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for number, expert in enumerate(self.experts):
            row, choice = torch.where(indices == number)
            out.index_add_(0, row, expert(tokens[row]) * weights[row, choice, None])
        return out


class Block(nn.Module):
    def __init__(self, dim, inner, count):
        super().__init__()
        self.gate = nn.Linear(dim, count)
        self.mixture = Experts(FeedForward(dim, inner), count)

    def forward(self, x):
        tokens = x.flatten(0, 1)
        weights, indices = self.gate(tokens).softmax(-1).topk(2)
        return x + self.mixture(tokens, indices, weights).view_as(x)


class Model(nn.Module):
    def __init__(self, vocab=32, dim=16, layers=2, inner=12, count=4):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        first = Block(dim, inner, count)
        self.layers = nn.ModuleList([first, *(copy.deepcopy(first) for _ in range(layers - 1))])
        self.head = nn.Linear(dim, vocab)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
