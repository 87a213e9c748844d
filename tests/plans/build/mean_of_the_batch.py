from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, x):
        return x + self.down(self.up(x).relu())


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(256, 16)
        self.layers = nn.ModuleList([Block() for _ in range(2)])
        self.out = nn.Linear(16, 256, bias=False)

    def forward(self, tokens):
        """Every layer takes off the mean embedding of all tokens, a sum over the ranks of every axis."""
        x = self.tok(tokens)
        mean = x.mean(dim=(0, 1), keepdim=True)
        for b in self.layers:
            x = b(x) - mean
        return self.out(x)
