"""What is in memory between the halves of a backward pass: `parc/cost/memory/peak.py` assumes the same."""

from __future__ import annotations

import weakref

import torch
from torch import nn
from torch.distributed.pipelining._backward import stage_backward_input, stage_backward_weight


class Saved:
    """A tensor that a graph keeps for its backward pass."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.tensor = tensor


def test_nothing_is_freed_by_the_first_half_and_gradients_of_outputs_come_on_top() -> None:
    """A linear's input is wanted for its weight's gradient. GELU's is not, and is kept all the same."""
    tokens, wide = 5, 12
    stage = nn.Sequential(nn.Linear(8, wide, bias=False), nn.GELU(), nn.Linear(wide, 8, bias=False))
    x = torch.randn(tokens, 8, requires_grad=True)
    kept: list[weakref.ref[Saved]] = []

    def pack(tensor: torch.Tensor) -> Saved:
        one = Saved(tensor)
        kept.append(weakref.ref(one))
        return one

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda one: one.tensor):
        out = stage(x)
    before = sum(one() is not None for one in kept)
    assert before == 3 + 2  # inputs of three operators, and both weights
    _, groups = stage_backward_input([out], [torch.ones_like(out)], [x], stage.parameters())
    del out
    assert sum(one() is not None for one in kept) == before
    gradients = [each for group in groups for some in group["grads"] for each in some if each is not None]
    assert sum(each.numel() for each in gradients) == tokens * (wide + 8)
    del gradients
    stage_backward_weight(stage.parameters(), groups)
    del groups
    assert not any(one() is not None for one in kept)
