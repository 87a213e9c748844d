"""Models that make their own loss: a mean over marked tokens, one that compares sequences of a batch."""

import torch
import torch.nn.functional as F
from torch import nn


class Body(nn.Module):
    def __init__(self, vocab, dim):
        super().__init__()
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in range(2))
        self.head = nn.Linear(dim, vocab, bias=False)
        for p in self.parameters():
            nn.init.normal_(p, std=0.3)

    def hidden(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return x


class Masked(Body):
    def forward(self, tokens, labels):
        each = F.cross_entropy(
            self.head(self.hidden(tokens)).flatten(0, 1), labels.flatten(), reduction="none"
        )
        mark = (labels.flatten() % 3 == 0).to(each.dtype)
        return (each * mark).sum() / mark.sum()


class PerSequence(Body):
    """GRPO-like: the mean of each sequence's own mean over its marked tokens."""

    def forward(self, tokens, labels):
        b, s = labels.shape
        each = F.cross_entropy(
            self.head(self.hidden(tokens)).flatten(0, 1), labels.flatten(), reduction="none"
        ).view(b, s)
        mark = (labels % 3 == 0).to(each.dtype)
        return ((each * mark).sum(1) / (mark.sum(1) + 1)).mean()


class InBatch(Body):
    def forward(self, tokens, labels):
        h = self.hidden(tokens)
        v = h.mean(1)
        logits = v @ v.t()
        pairs = F.cross_entropy(logits, torch.arange(v.shape[0], device=v.device))
        each = F.cross_entropy(self.head(h).flatten(0, 1), labels.flatten())
        return each + 0.1 * pairs
