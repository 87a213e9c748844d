"""Layers with experts that get the choices of the layer before; the first layer gets none."""

import routed_base
import torch
import torch.nn.functional as F
from small_base import Model as Base


class Experts(routed_base.Experts):
    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for expert in range(4):
            row, choice = torch.where(indices == expert)
            out.index_add_(0, row, self.apply_expert(expert, tokens[row]) * weights[row, choice, None])
        return out


class Layer(routed_base.Routed):
    def __init__(self, dim):
        super().__init__(dim, Experts)

    def forward(self, x, before=None):
        tokens = x.flatten(0, 1)
        scores = self.gate(tokens)
        if before is not None:
            scores = scores + 0.1 * F.one_hot(before[:, 0], 4)
        weights, indices = scores.softmax(-1).topk(2)
        return x + self.experts(tokens, indices, weights).view_as(x), indices


class Model(Base):
    def __init__(self):
        super().__init__(block=Layer, vocab=256, layers=3)

    def forward(self, tokens):
        x, choices = self.embedding(tokens), None
        for layer in self.layers:
            x, choices = layer(x, choices)
        return self.head(x)
