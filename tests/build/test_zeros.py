"""Values that are zero for every input are known, and no other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from parc.capture.graph import Body
from parc.lower.zeros import is_zero
from parc.shard.layout import Layout
from parc.shard.placed import Placed


def trace(function: Callable[[Tensor], Tensor]) -> tuple[Placed, fx.Node]:
    graph = make_fx(function)(torch.ones(2)).graph
    (output,) = (node for node in graph.nodes if node.op == "output")
    (result,) = output.all_input_nodes
    return Placed(Body("Function", "", graph), Layout((), {})), result


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.new_zeros(()),
        lambda x: torch.zeros(2) + x.new_zeros(()),
        lambda x: torch.full((2,), 0.0),
        torch.zeros_like,
    ],
)
def test_zeros_and_their_sums_are_zero(function: Callable[[Tensor], Tensor]) -> None:
    assert is_zero(*trace(function))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.new_zeros(()) + x,
        lambda x: x.new_zeros(()) + 1,
        lambda x: x.new_ones(()),
        lambda x: torch.full((2,), 1.0),
        lambda x: x * 0,  # an infinity makes it NaN
    ],
)
def test_no_other_value_is(function: Callable[[Tensor], Tensor]) -> None:
    assert not is_zero(*trace(function))
