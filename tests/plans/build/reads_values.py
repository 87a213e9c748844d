"""A value of a tensor becomes a number of Python."""

from small_base import Block
from small_base import Model as Base


class Counting(Block):
    def forward(self, x):
        return x + self.up(x) * (x > 0).sum().tolist()  # P505


class Model(Base):
    def __init__(self):
        super().__init__(Counting)
