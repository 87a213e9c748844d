"""A gradient that is not finite ends the run before the update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from parc.plan.blocks import Plan


def check_not_finite(trainer: Any, plan: Plan) -> Iterator[str]:
    """The last check: what the trainer holds is of no use afterwards.

    The gradients of one rank are not numbers; all ranks must stop, and leave the parameters as they were.
    """
    hooks = []
    if torch.distributed.get_rank() == plan.mesh.size - 1:
        hooks = [each.tensor.register_hook(_spoil) for each in trainer.parameters]
    before = [each.tensor.detach().clone() for each in trainer.parameters]
    try:
        trainer.step(0)
    except SystemExit:
        pass
    else:
        yield "a gradient that is not a number does not end the run"
    for hook in hooks:
        hook.remove()
    pairs = zip(trainer.parameters, before, strict=True)
    if changed := [each.name for each, value in pairs if not torch.equal(each.tensor.detach(), value)]:
        yield f"a gradient that is not a number still changes `{changed[0]}`"


def _spoil(gradient: Tensor) -> Tensor:
    return gradient * float("nan")
