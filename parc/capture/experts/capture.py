"""One expert, captured from a module that runs them all.

The module runs once on the CPU, with a few tokens for each of its experts, each weighted with 1. What depends
on the routing alone (loops over experts, masks, sorts) is computed; what happens to the rows of tokens is
traced, for each expert by itself (trace.py). Every expert runs in that one pass, so its cost is linear in the
number of experts, and an expert that the module treats in its own way has a graph of its own. That the graphs
are equal proves that all experts compute the same; that nothing of the routing was lost with them is shown by
numbers (probe.py).
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, fx, nn

from parc.capture.calls import ExpertsCall
from parc.capture.experts.bank import Bank
from parc.capture.experts.memory import lend_memory
from parc.capture.experts.probe import is_weighted_sum
from parc.capture.experts.rows import ROWS
from parc.capture.experts.stack import stack_experts
from parc.capture.experts.trace import ExpertTracer, UnsupportedExperts
from parc.capture.graph import Body, list_numbers
from parc.capture.model.signatures import Signatures
from parc.capture.source_lines import describe_fault

MANY_ROWS = 1031  # for each expert, more than its share where experts have a capacity in their own code
MOST_ELEMENTS = 1 << 26  # of all tokens
CAPACITY = "a capacity is stated by the plan, as `approximate { capacity = .. }`"


def capture_expert(
    module: nn.Module, bank: Bank, call: ExpertsCall, path: str, signatures: Signatures
) -> Body:
    """The body of one expert: rows (n, H) -> (n, H), its parameters stacked as (experts, ..).

    Raises UnsupportedExperts where the arithmetic of one expert cannot be separated from the rest, or differs
    between experts.
    """
    if len(call.tokens) != 2:
        raise UnsupportedExperts(f"it takes tokens {tuple(call.tokens)}: flatten them to (N, H) first")
    _check_alike(module, bank, signatures)
    with lend_memory(module, bank), torch.no_grad():
        tracer, results = _trace(module, bank, call, ROWS)
        first, *others = (stack_experts(result, bank, expert) for expert, result in enumerate(results))
        for expert, graph in enumerate(others, 1):
            if str(graph) != str(first):
                raise UnsupportedExperts(f"its expert {expert} and its expert 0 compute different things")
        if not is_weighted_sum(partial(run_experts, module, call), module, bank, first, call):
            raise UnsupportedExperts(
                "its result is not the weighted sum of what each token's experts make of it", tracer.weighted
            )
        _check_many_rows(module, bank, call, len(tracer.graph.nodes))
    name = "Experts" if bank.list_name == "" else type(module).__name__
    return Body(name, path, first, is_expert=True, numbers=list_numbers(module))


def _check_alike(module: nn.Module, bank: Bank, signatures: Signatures) -> None:
    """Experts in a list must be the same, and begin alike, but for their values."""
    if bank.list_name is None:
        return
    kinds = [signatures.number(expert) for expert in module.get_submodule(bank.list_name).children()]
    if len(kinds) < bank.count:
        raise UnsupportedExperts("several of its experts are one module")
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise UnsupportedExperts(f"its expert {number} is not like its expert 0")


def _check_many_rows(module: nn.Module, bank: Bank, call: ExpertsCall, operations: int) -> None:
    """That experts of many rows have as many operations as those of a few: none drops rows, or divides them.

    Raises UnsupportedExperts where they have others.
    """
    rows = min(MANY_ROWS, MOST_ELEMENTS // (bank.count * call.tokens[-1]))
    if rows <= ROWS:
        return
    try:
        tracer, _ = _trace(module, bank, call, rows)
    except UnsupportedExperts as fault:
        reason = f"{fault.reason}, for experts of {rows} rows: {CAPACITY}"
        raise UnsupportedExperts(reason, fault.node) from fault
    if len(tracer.graph.nodes) != operations:
        raise UnsupportedExperts(f"it computes otherwise for experts of {rows} rows: {CAPACITY}")


def _trace(module: nn.Module, bank: Bank, call: ExpertsCall, rows: int) -> tuple[ExpertTracer, list[fx.Node]]:
    """The result of each expert in a trace, of so many rows for each."""
    dtype = next(module.parameters()).dtype
    tokens = torch.zeros(bank.count * rows, call.tokens[-1], dtype=dtype)
    indices = torch.arange(bank.count).repeat_interleave(rows).unsqueeze(-1)
    tracer = ExpertTracer(bank.count, rows)
    tracer.add_tokens(tokens)
    for name, parameter in module.named_parameters():
        tracer.add_tensor(parameter, "parameter", name)
    for name, buffer in module.named_buffers():
        tracer.add_tensor(buffer, "buffer", name)
    with tracer:
        out = run_experts(module, call, tokens, indices, torch.ones(len(tokens), 1, dtype=dtype))
    return tracer, tracer.find_results(out)


def run_experts(
    module: nn.Module, call: ExpertsCall, tokens: Tensor, indices: Tensor, weights: Tensor
) -> Tensor:
    """What a module, which has memory, makes of tokens (N, H) with indices and weights (N, K).

    Raises UnsupportedExperts where it fails, or makes anything but (N, H).
    """
    args, kwargs = call.bind(tokens, indices, weights)
    try:
        out = module(*args, **kwargs)
    except UnsupportedExperts:
        raise
    except Exception as fault:
        raise UnsupportedExperts(
            f"it fails with tokens {tuple(tokens.shape)}, and indices and weights {tuple(indices.shape)}: "
            f"{describe_fault(fault)}"
        ) from fault
    if not isinstance(out, Tensor) or out.shape != tokens.shape:
        made = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise UnsupportedExperts(f"it makes {made} of tokens {tuple(tokens.shape)}")
    return out
