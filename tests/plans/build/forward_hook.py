from torch import nn


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(16, 16)

    def forward(self, x):
        return x + self.fc(x)


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(256, 16)
        self.layers = nn.ModuleList([Block() for _ in range(2)])
        self.out = nn.Linear(16, 256)
        self.layers[0].register_forward_hook(lambda module, args, out: out * 2)  # P515

    def forward(self, tokens):
        x = self.tok(tokens)
        for b in self.layers:
            x = b(x)
        return self.out(x)
