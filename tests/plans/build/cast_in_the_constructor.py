"""The model is cast when it is made, as `from_config(torch_dtype=..)` does: all of it, its experts too."""

import torch
from small_model import Model


def build():
    return Model().to(torch.bfloat16)
