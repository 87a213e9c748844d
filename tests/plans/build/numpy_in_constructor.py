"""Values of numpy are those of the constructor, stored with the program."""

import numpy
import torch
from small_base import Model as Base
from torch import nn


class Model(Base):
    def __init__(self):
        super().__init__()
        values = numpy.random.default_rng(0).normal(size=(32, 16)).astype("float32")
        self.embedding.weight = nn.Parameter(torch.from_numpy(values))
        self.head.weight.data = torch.from_numpy(values)
