"""The rules. A new one is a function in the module of its subject; importing the module declares it."""

from parc.check.registry import CHECKS
from parc.check.rules import (
    axes,
    balance,
    claims,
    counts,
    division,
    effect,
    experts,
    locality,
    memory,
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
