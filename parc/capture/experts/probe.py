"""Whether a module of experts is the weighted sum of the one expert that was captured from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from parc.capture.calls import ExpertsCall
from parc.capture.custom_ops import GROUPED_ADD, GROUPED_LINEAR, GROUPED_MATMUL, GROUPED_MUL
from parc.capture.experts.bank import Bank
from parc.capture.graph import get_tensor_name, is_module_tensor

TOKENS = 6
LEAST = 0.05  # of the weights: a module that leaves out small ones comes out different
# By how much two orders of the same sums may differ, relative to the largest entry: a few hundred roundings.
_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 5e-2}
_OF_ONE_EXPERT: Mapping[Any, Callable[[Tensor, Tensor], Tensor]] = {
    GROUPED_LINEAR: lambda rows, weight: rows @ weight.T,
    GROUPED_MATMUL: lambda rows, weight: rows @ weight,
    GROUPED_ADD: torch.add,
    GROUPED_MUL: torch.mul,
}


def is_weighted_sum(
    run: Callable[[Tensor, Tensor, Tensor], Tensor],
    module: nn.Module,
    bank: Bank,
    graph: fx.Graph,
    call: ExpertsCall,
) -> bool:
    """Whether a module gives random tokens the weighted sum of what `graph`, one expert, makes of them.

    `run` calls the module, which has memory, with tokens (N, H), indices and weights (N, K). They go to the
    first, the last and one more expert, and one of them, alone, to a fourth. The graph sees the rows of an
    expert in other groups than the module: rows that depend on each other come out different.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = sorted({0, bank.count // 2, bank.count - 1})
    dtype = next(module.parameters()).dtype
    tokens = torch.randn(TOKENS, call.tokens[-1], generator=generator).to(dtype)
    indices = torch.stack([torch.tensor(chosen).roll(token)[: call.choices] for token in range(TOKENS)])
    if bank.count > len(chosen):
        lone = next(expert for expert in range(bank.count) if expert not in chosen)
        indices[-1, 0] = lone
        chosen.append(lone)
    weights = torch.linspace(LEAST, 1.5, TOKENS * call.choices).view(TOKENS, call.choices).to(dtype)
    found = run(tokens, indices, weights)
    expected = torch.zeros_like(tokens)
    for expert in chosen:
        parameters = _select_expert(module, bank, expert)
        token, choice = torch.where(indices == expert)
        groups = tokens[token].tensor_split([1])
        try:
            rows = torch.cat([_run_graph(graph, group, parameters) for group in groups])
            expected.index_add_(0, token, rows * weights[token, choice, None])
        except RuntimeError:  # it holds for the number of rows of the trace alone
            return False
    error = (found - expected).abs().max() / expected.abs().max()
    return bool(error <= _ROUNDING[dtype])


def _select_expert(module: nn.Module, bank: Bank, expert: int) -> dict[str, Tensor]:
    """One expert's parameters, by the names that `Bank.locate_expert` gives."""
    found = {}
    for name, parameter in module.named_parameters():
        number, role = bank.locate_expert(name)
        if number in (None, expert):
            found[role] = parameter.detach()[expert] if number is None else parameter.detach()
    return found


def _run_graph(graph: fx.Graph, rows: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """What one expert makes of rows (n, H)."""
    values: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            values[node] = parameters[get_tensor_name(node)] if is_module_tensor(node) else rows
        elif node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), values.__getitem__)
            values[node] = _OF_ONE_EXPERT.get(node.target, node.target)(*args, **kwargs)
    (result,) = next(iter(reversed(graph.nodes))).args[0]
    computed: Tensor = values[result]
    return computed
