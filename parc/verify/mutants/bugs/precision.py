"""Bugs of masters, of moments, and of the types of gradients."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

PLACEMENT = "runtime/placement.py"
GRADIENTS = "runtime/gradients.py"
OPTIMIZER = "runtime/optim.py"
ADAMW = "runtime/rounded_adamw.py"


@silent_bug("masters lost or stale")
def lose_masters(target: MutationTarget) -> Iterator[Mutant]:
    """What is updated is what the model computes with, so that small updates are rounded away; or the model
    goes on with values from before the update.

    Applies to every plan. It shows where masters are of another type than what the model computes with.
    """
    unseen = None if target.mixed else "masters are of the type that is computed in here"
    kept = "placed.select_slice(placed.master).to(types.master)"
    site = "the rounded tensor is the master"
    lost = "placed.select_slice(placed.master)"
    yield target.patch(PLACEMENT, kept, lost, site, undetectable=unseen)
    step = "        self.adamw.zero_grad()\n        round_masters(self.parameters)\n"
    stale = "        self.adamw.zero_grad()\n"
    yield target.patch(OPTIMIZER, step, stale, "not rounded after the update", undetectable=unseen)


@silent_bug("moments of another type")
def mistype_moments(target: MutationTarget) -> Iterator[Mutant]:
    """Moments have the type of the masters, one of them is not kept, or the update is computed in their type.

    Applies where a plan keeps moments in fewer bits than masters.
    """
    types = target.plan.train.precision
    if types.moments == types.master:
        return
    made = 'state["exp_avg"] = torch.zeros_like(parameter, dtype=self.moments)'
    wide = made.replace(", dtype=self.moments", "")
    yield target.patch(ADAMW, made, wide, "the mean has the type of the masters")
    kept = "in zip(kept, updated, strict=True)"
    lost = "in zip(kept[:2], updated[:2], strict=True)"
    yield target.patch(ADAMW, kept, lost, "the mean square is not kept")
    taken = "            gradients,\n"
    rounded = "            [each.to(self.moments).to(self.wide) for each in gradients],\n"
    yield target.patch(ADAMW, taken, rounded, "takes rounded gradients")
    common = "self.wide = torch.promote_types(parameters[0].dtype, moments)"
    yield target.patch(ADAMW, common, "self.wide = moments", "computed in the type of the moments")


@silent_bug("gradients in the wrong type")
def mistype_gradients(target: MutationTarget) -> Iterator[Mutant]:
    """Gradients are added up over microbatches in the type that is computed in, or over ranks in another type
    than the plan says: in bfloat16, or in that in which they are added up.

    Applies to every plan. The first shows where gradients are of another type than what the model computes
    with, the others where gradients are sums over ranks, and the last where they are sent in another type.
    """
    unseen = None if target.mixed else "gradients are of the type that is computed in here"
    kept = "    tensor.grad_dtype = types.gradients\n"
    yield target.patch(PLACEMENT, kept, "", "added up as they are computed", undetectable=unseen)
    axes = sorted({axis for parameter in target.parameters for axis in parameter.reduce})
    if axes:
        summed = "        for group in groups:\n"
        rounded = f"        flat = flat.bfloat16()\n{summed}"
        yield target.patch(GRADIENTS, summed, rounded, "summed in bfloat16", over=axes)
        unseen = None if target.sent else "gradients are sent in the type that they have"
        sent = "sent = types.reduce or types.gradients"
        site = "sent as they are"
        yield target.patch(PLACEMENT, sent, "sent = types.gradients", site, over=axes, undetectable=unseen)


@silent_bug("parameters not kept in fp32")
def mistype_kept_parameters(target: MutationTarget) -> Iterator[Mutant]:
    """Of a parameter that stays in fp32 the gradient is added up, or sent to other ranks, in the type that
    others have.

    Applies where a plan keeps parameters in fp32. It shows where others have fewer bits there.
    """
    kept = [each for each in target.parameters if each.find_keyword("keep_fp32")]
    if not kept:
        return
    axes = sorted({axis for parameter in kept for axis in parameter.reduce})
    types = target.low_types
    unseen = None if types and "bf16" in (types.gradients, types.reduce) else "all have 32 bits"
    chosen = "precision.widen() if placement.keep_fp32 else precision"
    yield target.patch(PLACEMENT, chosen, "precision", "as the others", undetectable=unseen)
    if axes:
        unseen = None if types and types.reduce == "bf16" else "all are sent in 32 bits"
        sent = "gradients=gradients, reduce=reduce)"
        lost = "gradients=gradients, reduce=self.reduce)"
        yield target.patch(PLACEMENT, sent, lost, "sent as the others", over=axes, undetectable=unseen)
