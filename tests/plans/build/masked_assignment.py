from torch import nn


class Block(nn.Module):
    """Entries, and whole tokens, are set through masks."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x):
        h = self.up(x).clone()
        h[h < 0] = 0.0
        h[x.sum(-1) > 1] = x.mean()
        return x + self.down(h)


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(256, 16)
        self.layers = nn.ModuleList([Block() for _ in range(2)])
        self.out = nn.Linear(16, 256)

    def forward(self, tokens):
        x = self.tok(tokens)
        for b in self.layers:
            x = b(x)
        return self.out(x)
