"""Values that no seed decides: a second build would begin with others."""

import numpy
import torch
from small_base import Model as Base
from torch import nn


class Model(Base):
    def __init__(self, vocab=32, dim=16, layers=2):
        super().__init__(vocab=vocab, dim=dim, layers=layers)
        values = numpy.random.default_rng().normal(size=(vocab, dim)).astype("float32")
        self.head.weight = nn.Parameter(torch.from_numpy(values))
