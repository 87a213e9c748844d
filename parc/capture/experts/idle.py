"""Whether an expert that gets no token has a gradient in the user's model."""

from __future__ import annotations

import torch
from torch import nn

from parc.capture.calls import ExpertsCall
from parc.capture.experts.bank import Bank
from parc.capture.experts.capture import run_experts
from parc.capture.experts.memory import lend_memory

TOKENS = 2


def has_gradient_when_idle(module: nn.Module, bank: Bank, call: ExpertsCall) -> bool:
    """Whether AdamW updates an expert that gets no token: its gradient is then zero, and not missing.

    Slices of a stacked tensor share its gradient. An expert of a list has one where the module calls it
    whatever the routing: all tokens go to the first here, and the last is looked at.
    """
    if bank.list_name is None:
        return True
    with lend_memory(module, bank), torch.enable_grad():
        for parameter in module.parameters():
            parameter.requires_grad_(True)  # of lent memory
        dtype = next(module.parameters()).dtype
        tokens = torch.ones(TOKENS, call.tokens[-1], dtype=dtype)
        indices = torch.zeros(TOKENS, 1, dtype=torch.long)
        out = run_experts(module, call, tokens, indices, torch.ones(TOKENS, 1, dtype=dtype))
        out.sum().backward()  # type: ignore[no-untyped-call]
        *_, last = module.get_submodule(bank.list_name).children()
        return any(parameter.grad is not None for parameter in last.parameters())
