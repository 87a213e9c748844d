"""The rules: whether a plan is legal, and its parts agree. Importing a module declares its rules."""

from parc.check.registry import RULES as RULES
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
