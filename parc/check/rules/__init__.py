"""The rules. A new one is a function in the module of its subject; importing the module declares it."""

from parc.check.lints import balance, claims, locality, memory
from parc.check.registry import CHECKS
from parc.check.rules import (
    axes,
    counts,
    division,
    effect,
    experts,
    model,
    nodes,
    pipeline,
    schedule,
    training,
)

__all__ = [
    "CHECKS",
    "axes",
    "balance",
    "claims",
    "counts",
    "division",
    "effect",
    "experts",
    "locality",
    "memory",
    "model",
    "nodes",
    "pipeline",
    "schedule",
    "training",
]
