"""One expert, captured from a module that runs them all.

The module runs with every token sent to one expert with weight 1. What depends on the routing alone (loops over
experts, masks, sorts) is then known, and what is traced is the arithmetic of that expert.
"""

from __future__ import annotations

import copy

import torch
from torch import fx, nn

from parc.shard.bank import Bank
from parc.shard.body import Body
from parc.shard.calls import ExpertsCall
from parc.shard.fold import Folding, Unfoldable
from parc.shard.grouped import grouped

ROWS = 4


def capture_expert(module: nn.Module, bank: Bank, call: ExpertsCall, path: str) -> Body:
    """The body of one expert: rows (n, H) -> (n, H), its parameters stacked as (experts, ..).

    Raises Unfoldable where the arithmetic of one expert cannot be told from the rest, or differs between experts.
    """
    if len(call.tokens) != 2:
        raise Unfoldable(f"it takes tokens {tuple(call.tokens)}: flatten them to (N, H) first", None)
    first, last = (_trace(module, bank, call, expert) for expert in (0, bank.count - 1))
    if str(first) != str(last):
        raise Unfoldable("its first expert and its last compute different things", None)
    return Body(type(module).__name__, path, first, is_expert=True)


def _trace(module: nn.Module, bank: Bank, call: ExpertsCall, expert: int) -> fx.Graph:
    """The graph of one expert, lifted to rows of all experts."""
    real = copy.deepcopy(module).to_empty(
        device="cpu"
    )  # untouched memory: only a traced expert's pages become real
    dtype = next(real.parameters()).dtype
    tokens = torch.zeros(ROWS, call.tokens[-1], dtype=dtype)
    args, kwargs = call.arguments(tokens, torch.full((ROWS, 1), expert), torch.ones(ROWS, 1, dtype=dtype))
    folding = Folding()
    folding.input(tokens, "x").meta["name"] = "x"
    for name, parameter in real.named_parameters():
        folding.input(parameter, name.replace(".", "_")).meta["parameter"] = name
    with torch.no_grad(), folding:
        out = real(*args, **kwargs)
    return grouped(folding.output(out), bank, expert)
