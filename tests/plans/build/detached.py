from torch import nn


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.up = nn.Linear(dim, dim)

    def forward(self, x):
        scale = x.detach().abs().amax(-1, keepdim=True)
        return x + self.up(x / scale) * 0.5


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(256, 16)
        self.layers = nn.ModuleList([Block(16) for _ in range(2)])
        self.out = nn.Linear(16, 256)

    def forward(self, tokens):
        x = self.tok(tokens)
        for b in self.layers:
            x = b(x)
        return self.out(x)
