"""One expert, captured from a module that runs them all.

The module is traced with every token sent to one expert with weight 1. What depends on the routing alone is then known
while tracing (loops over experts, masks, sorts), so that the trace holds the arithmetic of that expert and some
bookkeeping, which is folded away: gathers of all rows in order, sums into zeros, products with 1.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx

from parc.shard.bank import Bank
from parc.shard.body import Body
from parc.shard.calls import ExpertsCall
from parc.shard.fold import Unfoldable, folded
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
    real = copy.deepcopy(module).to_empty(device="cpu")  # untouched memory: only a traced expert's pages become real
    names = [name for name, _ in real.named_parameters()]
    dtype = next(real.parameters()).dtype
    indices, weights = torch.full((ROWS, 1), expert), torch.ones(ROWS, 1, dtype=dtype)

    def run(tokens: Tensor, *parameters: Tensor) -> Tensor:
        args, kwargs = call.arguments(tokens, indices, weights)
        out = functional_call(real, dict(zip(names, parameters, strict=True)), args, kwargs)
        assert isinstance(out, Tensor)
        return out

    tokens = torch.zeros(ROWS, call.tokens[-1], dtype=dtype)
    traced = make_fx(run, tracing_mode="real", pre_dispatch=True, _error_on_data_dependent_ops=False, record_stack_traces=True)(
        tokens, *(p.detach() for p in real.parameters())
    )
    graph = folded(traced)
    for node, name in zip([n for n in graph.nodes if n.op == "placeholder"], ["", *names], strict=True):
        node.meta["name" if not name else "parameter"] = name or "x"
    return grouped(graph, bank, expert)
