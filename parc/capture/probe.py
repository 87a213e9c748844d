"""Whether a module of experts is the weighted sum of the one expert that was captured from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from parc.capture.calls import ExpertsCall
from parc.capture.expert_bank import Bank
from parc.capture.fold_routing import Unfoldable

parc = torch.ops.parc
TOKENS, CHOICES = 6, 2
# By how much two orders of the same sums may differ, relative to the largest entry: a few hundred roundings.
_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-4, torch.bfloat16: 5e-2}
_ZEROED = (
    2**25
)  # bytes that may be written without a thought; larger tensors stay untouched but for a few experts
_OF_ONE_EXPERT: Mapping[Any, Callable[[Tensor, Tensor], Tensor]] = {
    parc.grouped_linear.default: lambda rows, weight: rows @ weight.T,
    parc.grouped_matmul.default: lambda rows, weight: rows @ weight,
    parc.grouped_add.default: torch.add,
    parc.grouped_mul.default: torch.mul,
}


def probe(real: nn.Module, bank: Bank, call: ExpertsCall, graph: fx.Graph, weighted: fx.Node | None) -> None:
    """Run the module on random tokens, routed to a few experts with random weights, and compare row by row.

    `real` has memory of its own, `graph` is what `grouped` made. Raises Unfoldable, blaming `weighted`, where
    they differ.
    """
    generator = torch.Generator().manual_seed(0)
    chosen = sorted({0, bank.count // 2, bank.count - 1})
    dtype = next(real.parameters()).dtype
    for parameter in real.parameters():
        if parameter.nbytes < _ZEROED:
            parameter.detach().zero_()
    for expert in chosen:
        for mine in _of_expert(real, bank, expert).values():
            mine.copy_(torch.randn(mine.shape, generator=generator) / mine.shape[-1] ** 0.5)
    tokens = torch.randn(TOKENS, call.tokens[-1], generator=generator).to(dtype)
    indices = torch.stack([torch.tensor(chosen).roll(token)[:CHOICES] for token in range(TOKENS)])
    weights = (torch.rand(TOKENS, CHOICES, generator=generator) + 0.5).to(dtype)
    args, kwargs = call.arguments(tokens, indices, weights)
    with torch.no_grad():
        found = real(*args, **kwargs)
        expected = torch.zeros_like(tokens)
        for token, choice in [(t, c) for t in range(TOKENS) for c in range(CHOICES)]:
            parameters = _of_expert(real, bank, int(indices[token, choice]))
            expected[token] += weights[token, choice] * _row(graph, tokens[token], parameters)
    error = (found - expected).abs().max() / expected.abs().max()
    if not error <= _ROUNDING[dtype]:
        raise Unfoldable(
            "its result is not the weighted sum of what each token's experts make of it", weighted
        )


def _of_expert(real: nn.Module, bank: Bank, expert: int) -> dict[str, Tensor]:
    """One expert's parameters, by the names that `Bank.expert_of` gives."""
    found = {}
    for name, parameter in real.named_parameters():
        number, stacked = bank.expert_of(name)
        if number in (None, expert):
            found[stacked] = parameter.detach()[expert] if number is None else parameter.detach()
    return found


def _row(graph: fx.Graph, row: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
    """What one expert makes of one row (H)."""
    made: dict[fx.Node, Any] = {}
    for node in graph.nodes:
        if node.op == "placeholder":
            made[node] = parameters[node.meta["tensor"]] if "tensor" in node.meta else row.unsqueeze(0)
        elif node.op == "call_function":
            args, kwargs = fx.map_arg((node.args, node.kwargs), made.__getitem__)
            made[node] = _OF_ONE_EXPERT.get(node.target, node.target)(*args, **kwargs)
    (result,) = next(iter(reversed(graph.nodes))).args[0]
    value: Tensor = made[result].squeeze(0)
    return value
