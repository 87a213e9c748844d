"""Bugs of updates that ranks share: slices that are not exchanged, not summed, or not counted right."""

from __future__ import annotations

from collections.abc import Iterator

from parc.plan.placement import reduces_by_layer
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

BUCKETS = "runtime/buckets.py"
GRADIENTS = "runtime/gradients.py"
LAYERS = "runtime/layer_gradients.py"
PLACEMENT = "runtime/placement.py"
SLICES = "runtime/slices.py"
TRAINING = "runtime/training.py"
UPDATE = "        self.optimizer.step(step, idle)\n"
GATHER = "        self.shared_updates.gather()\n"
SCATTER = "        dist.reduce_scatter_single(share, flat, group=group)\n"


@silent_bug("stale sharded parameters")
def keep_stale_slices(target: MutationTarget) -> Iterator[Mutant]:
    """A rank goes on with the parameters that others have updated as they were before.

    Applies where ranks share updates.
    """
    if axes := _list_axes(target):
        update = UPDATE + GATHER
        yield target.patch(TRAINING, update, UPDATE, "not gathered after the update", over=axes)
        early = GATHER + UPDATE
        yield target.patch(TRAINING, update, early, "gathered before the update", over=axes)
        buckets = "in self._buckets:\n"
        first = "in self._buckets[:1]:\n"
        yield target.patch(SLICES, buckets, first, "only the first bucket gathered", over=axes)


@silent_bug("another rank's slice")
def mix_slices(target: MutationTarget) -> Iterator[Mutant]:
    """A slice is updated with the gradient of another one, or put in the place of another one.

    Applies where ranks share updates; to the order of the axes, where they do so along several.
    """
    axes = _list_axes(target)
    if axes:
        rolled = SCATTER.replace("flat,", "flat.roll(share.numel()),")
        yield target.patch(BUCKETS, SCATTER, rolled, "the gradient of the next slice", over=axes)
        rows = "flat.view(-1, sum(lengths))"
        yield target.patch(SLICES, rows, f"{rows}.flip(0)", "the last slice in the first place", over=axes)
    if any(len(target.list_slice_axes(parameter)) > 1 for parameter in target.parameters):
        inner, outer = "in reversed(bucket[0].slice.axes):", "in bucket[0].slice.axes:"
        yield target.patch(BUCKETS, inner, outer, "gradients of the outer axis first")
        numbered = "for axis in reversed(axes):"
        yield target.patch(PLACEMENT, numbered, "for axis in axes:", "slices numbered by the outer axis")


@silent_bug("shared gradient scaled")
def scale_slices(target: MutationTarget) -> Iterator[Mutant]:
    """A slice of a gradient is the mean of the ranks' terms, or one rank's, instead of their sum.

    Applies where ranks share updates.
    """
    if axes := _list_axes(target):
        mean = f"{SCATTER}        share /= group.size()\n"
        yield target.patch(BUCKETS, SCATTER, mean, "a mean", over=axes)
        own = f"{SCATTER}        share.copy_(flat.view(group.size(), -1)[group.rank()])\n"
        yield target.patch(BUCKETS, SCATTER, own, "one rank's term", over=axes)


@silent_bug("layer gradients of one microbatch")
def keep_last_reduction(target: MutationTarget) -> Iterator[Mutant]:
    """The gradients of a layer that a backward pass has reduced replace those of the microbatches before.

    Applies where backward passes reduce the gradients of layers.
    """
    axes = _list_axes(target)
    if axes and reduces_by_layer(target.plan):
        same, add = target.one_microbatch, "torch._foreach_add_(sums, "
        last = "torch._foreach_copy_(sums, "
        yield target.patch(LAYERS, add, last, "replaced", over=axes, equivalent=same)


@silent_bug("norm of unsummed gradients")
def measure_terms(target: MutationTarget) -> Iterator[Mutant]:
    """The norm is that of whole gradients, of which all but a rank's slice are terms of sums.

    Applies where ranks share updates.
    """
    if axes := _list_axes(target):
        summed, terms = "member.gradient for member", "member.ensure_gradient() for member"
        yield target.patch(GRADIENTS, summed, terms, "of whole tensors", over=axes)


def _list_axes(target: MutationTarget) -> list[str]:
    """The axes whose ranks share some update."""
    return sorted({axis for parameter in target.parameters for axis in target.list_slice_axes(parameter)})
