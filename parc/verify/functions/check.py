"""All checks of functions, of one rank of a program that has been trained for a few steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from parc.plan.blocks import Plan
from parc.verify.functions.batches import check_batches, check_requests
from parc.verify.functions.exchange import check_exchange
from parc.verify.functions.figures import check_load
from parc.verify.functions.losses import check_divisor, check_losses
from parc.verify.functions.not_finite import check_not_finite
from parc.verify.functions.optimizer import check_rates, check_updates
from parc.verify.functions.recompute import check_recomputation

CHECKED = (
    "learning rates, batches, updates, exchanges of rows, losses, what is recomputed, loads, values that are "
    "not finite"
)


def check_functions(trainer: Any, plan: Plan) -> Iterator[str]:
    """What is wrong, on this rank. All ranks call it together, since functions communicate."""
    yield from check_rates(trainer, plan)
    yield from check_batches(trainer, plan)
    yield from check_requests(trainer, plan)
    yield from check_updates(trainer, plan)
    yield from check_exchange(trainer, plan)
    yield from check_divisor(trainer, plan)
    yield from check_losses(trainer, plan)
    yield from check_recomputation(trainer, plan)
    yield from check_load(trainer, plan)
    yield from check_not_finite(trainer)
