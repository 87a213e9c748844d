"""One expert, captured from a module that runs them all.

The module runs with every token sent to one expert with weight 1. What depends on the routing alone (loops
over experts, masks, sorts) is then known, and what is traced is the arithmetic of that expert. That nothing
was lost is shown by numbers: see probe.py.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor, fx, nn

from parc.capture.calls import ExpertsCall
from parc.capture.expert_bank import Bank
from parc.capture.fold_routing import Folding, Unfoldable
from parc.capture.graph import Body
from parc.capture.grouped import grouped
from parc.capture.module_signature import signature
from parc.capture.probe import probe

ROWS = 4
Beginnings: TypeAlias = Mapping[int, Hashable]  # how a tensor begins, by its id


def capture_expert(
    module: nn.Module, bank: Bank, call: ExpertsCall, path: str, beginnings: Beginnings
) -> Body:
    """The body of one expert: rows (n, H) -> (n, H), its parameters stacked as (experts, ..).

    Raises Unfoldable where the arithmetic of one expert cannot be told from the rest, or differs between
    experts.
    """
    if len(call.tokens) != 2:
        raise Unfoldable(f"it takes tokens {tuple(call.tokens)}: flatten them to (N, H) first", None)
    _check_alike(module, bank, beginnings)
    first, weighted = _trace(_untouched(module), bank, call, 0)
    for expert in range(1, bank.count):
        if str(_trace(_untouched(module), bank, call, expert)[0]) != str(first):
            raise Unfoldable(f"its expert {expert} and its expert 0 compute different things", None)
    probe(_untouched(module), bank, call, first, weighted)
    return Body(type(module).__name__, path, first, is_expert=True)


def _untouched(module: nn.Module) -> nn.Module:
    """The module with memory that only becomes real where it is read: at the experts that are run."""
    return copy.deepcopy(module).to_empty(device="cpu")


def _check_alike(module: nn.Module, bank: Bank, beginnings: Beginnings) -> None:
    """Experts in a list must be the same, and begin alike, but for their values."""
    if bank.list_name is None:
        return
    kinds = [
        signature(expert, dict(beginnings)) for expert in module.get_submodule(bank.list_name).children()
    ]
    if len(kinds) < bank.count:
        raise Unfoldable("several of its experts are one module", None)
    for number, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise Unfoldable(f"its expert {number} is not like its expert 0", None)


def _trace(real: nn.Module, bank: Bank, call: ExpertsCall, expert: int) -> tuple[fx.Graph, fx.Node | None]:
    """The graph of one expert, lifted to rows of all experts, and where the module weights its rows."""
    dtype = next(real.parameters()).dtype
    tokens = torch.zeros(ROWS, call.tokens[-1], dtype=dtype)
    args, kwargs = call.arguments(tokens, torch.full((ROWS, 1), expert), torch.ones(ROWS, 1, dtype=dtype))
    folding = Folding()
    folding.input(tokens, "x").meta["name"] = "x"
    for name, parameter in real.named_parameters():
        folding.input(parameter, name.replace(".", "_")).meta["parameter"] = name
    for name, buffer in real.named_buffers():
        folding.input(buffer, name.replace(".", "_")).meta["buffer"] = name
    with torch.no_grad(), folding:
        out = _run(real, args, kwargs, tokens)
    return grouped(folding.output(out), bank, expert), folding.weighted


def _run(real: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], tokens: Tensor) -> Tensor:
    try:
        out = real(*args, **kwargs)
    except Unfoldable:
        raise
    except Exception as fault:
        reason = str(fault).strip().split("\n")[0]
        raise Unfoldable(f"it does not run with one expert a token: {reason}", None) from fault
    if not isinstance(out, Tensor) or out.shape != tokens.shape:
        made = tuple(out.shape) if isinstance(out, Tensor) else f"a {type(out).__name__}"
        raise Unfoldable(f"it makes {made} of tokens {tuple(tokens.shape)} with one expert each", None)
    return out
