"""The number of parameters that checks count by `shape`, against that of the captured model."""

from __future__ import annotations

from parc.check.claims.counts import count_parameters
from parc.check.costs import Costs, Unknown
from parc.diagnostic import Diagnostic, Label, Severity
from parc.plan.blocks import Plan

ALLOWED = 0.2  # of the parameters: norms, biases and tables of positions, which `shape` has no key for


def compare_parameters(plan: Plan, actual: int) -> Diagnostic | None:
    """A warning where the checks have priced a model of another size than that with `actual` parameters."""
    try:
        counted = int(count_parameters(Costs(plan, None, None)).value)
    except Unknown:  # the shape says too little: nothing is priced
        return None
    if abs(counted - actual) <= ALLOWED * actual:
        return None
    model, missing = plan.train.model, actual - counted
    stated = missing + (model.shape.other or 0)
    cure = f"state what `shape` has no key for as `other = {stated:,}`".replace(",", "_")
    return Diagnostic(
        "P517",
        Severity.WARNING,
        f"`shape` counts {counted:,} parameters, `{model.source}` has {actual:,}: "
        "memory and times are those of another model",
        (Label(model.shape.span, f"{abs(missing):,} {'missing' if missing > 0 else 'too many'}"),),
        help=cure if missing > 0 else "correct the key that is too large, or leave the shape out",
    )
