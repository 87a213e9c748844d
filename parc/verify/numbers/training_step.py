"""A step as training takes it, with a look at the gradients before they are clipped and used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

FIGURES = {"loss": "loss", "balance": "balance loss", "grad_norm": "gradient norm", "lr": "learning rate"}


class Unseen(Exception):
    """A step, edited by hand, in which the moment to look at its gradients does not come."""


def taken(trainer: Any, number: int, look: Callable[[], None]) -> Mapping[str, float]:
    """What the program reports of its step, by the names that a reader knows; a figure it lacks is no number.

    `look` is called when the gradients are complete. A model without a balance loss has none of 0. Raises
    Unseen where the step does not call `update`, before which that is.
    """
    update, seen = trainer.update, False

    def looked(*given: Any) -> Any:
        nonlocal seen
        seen = True
        look()
        return update(*given)

    trainer.update = looked
    figures = trainer.step(number)
    del trainer.update
    if not seen:
        raise Unseen("the edited `step` does not call `update`: its gradients cannot be looked at")
    none = {"balance": 0.0} if trainer.objective.balance is None else {}
    return {name: {**none, **figures}.get(key, float("nan")) for key, name in FIGURES.items()}
