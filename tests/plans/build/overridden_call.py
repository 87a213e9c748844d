"""A layer whose residual sum is in `__call__`."""

from small_base import Block
from small_base import Model as Base


class Residual(Block):
    def __call__(self, x):  # P515
        return x + 0.5 * super().__call__(x)


class Model(Base):
    def __init__(self):
        super().__init__(block=Residual, vocab=256)
