"""Experts that compute at most 40 rows each: more than a tiny batch has, fewer than a large one."""

import routed_base
import torch


class Experts(routed_base.Experts):
    def forward(self, tokens, indices, weights):
        out = torch.zeros_like(tokens)
        for expert in range(4):
            row, choice = torch.where(indices == expert)
            row, choice = row[:40], choice[:40]
            y = self.apply_expert(expert, tokens[row])  # P506
            out.index_add_(0, row, y * weights[row, choice, None])
        return out


class Model(routed_base.Model):
    def __init__(self):
        super().__init__(Experts)
