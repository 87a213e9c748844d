"""Layers that take and return a dictionary, of which one value is a sum over all layers so far."""

from small_base import Feed
from small_base import Model as Base
from torch import nn


class Block(Feed):
    def forward(self, state):
        x = state["x"]
        return {"x": x + self.down(self.up(x).relu()), "mean": state["mean"] + x.mean()}


class Model(Base):
    def __init__(self):
        super().__init__(Block, layers=4)
        self.head = nn.Linear(16, 32, bias=False)

    def run(self, x):
        state = {"x": x, "mean": x.new_zeros(())}
        for layer in self.layers:
            state = layer(state)
        return state["x"] * (1 + state["mean"])

    def forward(self, tokens):
        return self.head(self.run(self.embedding(tokens)))
