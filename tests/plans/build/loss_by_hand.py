"""Class weights and label smoothing written by hand, as the refusal of those of `F.cross_entropy` says."""

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, dim)

    def forward(self, x):
        return x + self.up(x)


class Model(nn.Module):
    def __init__(self, vocab=32, dim=16, layers=2):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Block(dim) for _ in range(layers))
        self.head = nn.Linear(dim, vocab)
        self.register_buffer("rarity", 1 + torch.arange(float(vocab)) / vocab, persistent=False)

    def forward(self, tokens, labels):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        logits = self.head(x).flatten(0, 1)
        labels = labels.flatten()
        each = F.cross_entropy(logits, labels, reduction="none")
        weights = F.embedding(labels, self.rarity[:, None]).squeeze(-1)
        smooth = -F.log_softmax(logits, -1).mean()
        return 0.9 * (weights * each).sum() / weights.sum() + 0.1 * smooth
