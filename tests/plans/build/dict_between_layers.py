from torch import nn


class Block(nn.Module):
    """Takes and returns a dictionary, of which one value is a sum over all layers so far."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)

    def forward(self, state):
        x = state["x"]
        return {"x": x + self.down(self.up(x).relu()), "mean": state["mean"] + x.mean()}


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(256, 16)
        self.layers = nn.ModuleList([Block() for _ in range(4)])
        self.out = nn.Linear(16, 256, bias=False)

    def run(self, x):
        state = {"x": x, "mean": x.new_zeros(())}
        for b in self.layers:
            state = b(state)
        return state["x"] * (1 + state["mean"])

    def forward(self, tokens):
        return self.out(self.run(self.tok(tokens)))
