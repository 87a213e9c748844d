import torch
import torch.nn.functional as F
from torch import nn


class Experts(nn.Module):
    def __init__(self, n, d, f):
        super().__init__()
        self.w1 = nn.Parameter(torch.empty(n, f, d).normal_(0, 0.02))
        self.w2 = nn.Parameter(torch.empty(n, d, f).normal_(0, 0.02))

    def forward(self, x, idx, w):
        k = idx.shape[-1]
        num = torch.bincount(idx.view(-1), minlength=len(self.w1))
        order = torch.argsort(idx.view(-1), stable=True)
        parts = torch.split(x[order // k], num.tolist())
        y = torch.cat([F.gelu(p @ self.w1[i].T) @ self.w2[i].T for i, p in enumerate(parts)])
        return torch.zeros_like(x).index_add(0, order // k, y * w.view(-1)[order].unsqueeze(-1))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Linear(16, 4, bias=False)
        self.experts = Experts(4, 16, 32)

    def forward(self, x):
        t = x.flatten(0, 1)
        w, idx = self.gate(t).softmax(-1).topk(2)
        return x + self.experts(t, idx, w).view_as(x)


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(256, 16)
        self.h = nn.ModuleList([Block() for _ in range(2)])
        self.head = nn.Linear(16, 256)

    def forward(self, idx):
        x = self.wte(idx)
        for b in self.h:
            x = b(x)
        return self.head(x)
