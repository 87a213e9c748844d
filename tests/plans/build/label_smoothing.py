"""The model's own loss has class weights and label smoothing."""

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
        return F.cross_entropy(logits, labels.flatten(), weight=self.rarity, label_smoothing=0.1)
