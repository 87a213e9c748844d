"""Bugs of masters and of the types of gradients."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

PLACEMENT = "runtime/placement.py"
GRADIENTS = "runtime/gradients.py"
OPTIMIZER = "runtime/optim.py"


@silent_bug("masters lost or stale")
def lose_masters(target: MutationTarget) -> Iterator[Mutant]:
    """What is updated is what the model computes with, so that small updates are rounded away; or the model
    goes on with values from before the update.

    Applies to every plan. It shows where masters are of another type than what the model computes with.
    """
    unseen = None if target.mixed else "masters are of the type that is computed in here"
    kept = "placed.select_slice(placed.master).to(precision.master)"
    site = "the rounded tensor is the master"
    lost = "placed.select_slice(placed.master)"
    yield target.patch(PLACEMENT, kept, lost, site, undetectable=unseen)
    step = "        self.adamw.zero_grad()\n        round_masters(self.parameters)\n"
    stale = "        self.adamw.zero_grad()\n"
    yield target.patch(OPTIMIZER, step, stale, "not rounded after the update", undetectable=unseen)


@silent_bug("gradients in the wrong type")
def mistype_gradients(target: MutationTarget) -> Iterator[Mutant]:
    """Gradients are added up over microbatches in the type that is computed in, or over ranks in bfloat16.

    Applies to every plan. The first shows where gradients are of another type than what the model computes
    with, the second where gradients are sums over ranks.
    """
    unseen = None if target.mixed else "gradients are of the type that is computed in here"
    kept = "    tensor.grad_dtype = precision.gradients\n"
    yield target.patch(PLACEMENT, kept, "", "added up as they are computed", undetectable=unseen)
    axes = sorted({axis for parameter in target.parameters for axis in parameter.reduce})
    if axes:
        summed = "        for group in groups:\n"
        rounded = f"        flat = flat.bfloat16()\n{summed}"
        yield target.patch(GRADIENTS, summed, rounded, "summed in bfloat16", over=axes)
