"""The rules. A new one is a function in the module of its subject; importing the module declares it."""

from parc.check.registry import CHECKS
from parc.check.rules import (
    axes,
    claims,
    counts,
    division,
    effect,
    model,
    nodes,
    pipeline,
    schedule,
    training,
)

__all__ = [
    "CHECKS",
    "axes",
    "claims",
    "counts",
    "division",
    "effect",
    "model",
    "nodes",
    "pipeline",
    "schedule",
    "training",
]
