"""What one layer decides is used by the next: a mark a token, a truth value, a whole or a real number."""

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, dim, kind):
        super().__init__()
        self.kind = kind
        self.up, self.down = nn.Linear(dim, 2 * dim, bias=False), nn.Linear(2 * dim, dim, bias=False)

    def forward(self, x, mark):
        if self.kind == "bool":
            y = torch.where(mark[..., None], self.down(torch.tanh(self.up(x))), torch.zeros_like(x))
            return x + y, x[..., 0] > x[..., 1]
        if self.kind == "int":
            y = self.down(torch.tanh(self.up(x))) * (mark % 3 == 1)[..., None]
            return x + y, x[..., :5].argmax(-1)
        y = self.down(torch.tanh(self.up(x))) * mark[..., None]
        return x + y, torch.sigmoid(x[..., 0])


class Model(nn.Module):
    def __init__(self, vocab, dim, kind):
        super().__init__()
        self.kind = kind
        self.embedding = nn.Embedding(vocab, dim)
        self.layers = nn.ModuleList(Layer(dim, kind) for _ in range(2))
        self.head = nn.Linear(dim, vocab, bias=False)
        for p in self.parameters():
            nn.init.normal_(p, std=0.3)

    def forward(self, tokens):
        x = self.embedding(tokens)
        mark = {"bool": x[..., 0] > 0, "int": x[..., :5].argmax(-1), "real": x[..., 0]}[self.kind]
        for layer in self.layers:
            x, mark = layer(x, mark)
        return self.head(x)
