"""Bugs of updates that ranks share: slices that are not exchanged, not summed, or not counted right."""

from __future__ import annotations

from collections.abc import Iterator

from parc.plan.placement import gathers_by_module, reduces_by_module
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

BUCKETS = "runtime/buckets.py"
GRADIENTS = "runtime/gradients.py"
MEMORY = "runtime/gathered_memory.py"
MODULES = "runtime/sharded_modules.py"
PASSES = "runtime/module_passes.py"
PLACEMENT = "runtime/placement.py"
SLICES = "runtime/slices.py"
TRAINING = "runtime/training.py"
UPDATE = "        self.optimizer.step(step, idle)\n"
GATHER = "        self.shared_updates.gather()\n"
SCATTER = "        dist.reduce_scatter_single(share, flat, group=group)\n"
VALUES = "gather_slices(bucket, slices, self.mesh)"
FILL = "                memory.fill()\n"  # for a backward pass
FREE = "    if is_first_pass():\n        actions.end_forward()\n"
END = "Variable._execution_engine.queue_callback(actions.end_backward)"


@silent_bug("stale sharded parameters")
def keep_stale_slices(target: MutationTarget) -> Iterator[Mutant]:
    """A rank goes on with the parameters that others have updated as they were before.

    Applies where ranks share updates; to what modules are gathered from, where they are.
    """
    axes = _list_axes(target)
    if axes and not gathers_by_module(target.plan):
        update = UPDATE + GATHER
        yield target.patch(TRAINING, update, UPDATE, "not gathered after the update", over=axes)
        early = GATHER + UPDATE
        yield target.patch(TRAINING, update, early, "gathered before the update", over=axes)
        buckets = "in self._buckets:\n"
        first = "in self._buckets[:1]:\n"
        single = "one bucket" if _count_updated_groups(target) == 1 else None
        site = "only the first bucket gathered"
        yield target.patch(SLICES, buckets, first, site, over=axes, equivalent=single)
    if axes and gathers_by_module(target.plan):
        kept = f"vars(self).setdefault(str(id(bucket)), {VALUES})"
        yield target.patch(MEMORY, VALUES, kept, "modules as in their first pass", over=axes)


@silent_bug("resharded too early")
def free_too_early(target: MutationTarget) -> Iterator[Mutant]:
    """A module computes gradients with parameters whose memory is free already, and perhaps used by others.

    Applies where modules are gathered for each pass; to the second forward pass, where there is one.
    """
    if gathers_by_module(target.plan):
        others = "[each.tensor.data.neg_() for each in memory.parameters]"
        used = f"{FILL}                {others}\n"
        yield target.patch(MODULES, FILL, used, "memory used by others in the backward pass")
        nothing = FILL.replace("memory.fill()", "pass")
        yield target.patch(MODULES, FILL, nothing, "not gathered for the backward pass")
        if target.plan.recompute == "layer":
            always = "    actions.end_forward()\n    if is_first_pass():\n"
            yield target.patch(PASSES, FREE, always, "freed after any forward pass")


@silent_bug("gather in the wrong type")
def mistype_gathers(target: MutationTarget) -> Iterator[Mutant]:
    """The slices of a module are rounded to another type than the model computes in.

    Applies where modules are gathered for each pass.
    """
    axes = _list_axes(target)
    if axes and gathers_by_module(target.plan):
        right = "parameter.master.to(parameter.tensor.dtype)"
        yield target.patch(MEMORY, right, "parameter.master.bfloat16()", "sent in bfloat16", over=axes)
        twice = right.replace("to(", "bfloat16().to(")
        yield target.patch(MEMORY, right, twice, "rounded to bfloat16 first", over=axes)


@silent_bug("another rank's slice")
def mix_slices(target: MutationTarget) -> Iterator[Mutant]:
    """A slice is updated with the gradient of another one, or put in the place of another one.

    Applies where ranks share updates; to the order of the axes, where they do so along several; to what a
    module is gathered from, where it is.
    """
    axes = _list_axes(target)
    if axes and gathers_by_module(target.plan):
        given = "bucket, slices, self.mesh"
        next_one = "bucket, [each.roll(1) for each in slices], self.mesh"
        yield target.patch(MEMORY, given, next_one, "a module's slices moved by one element", over=axes)
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


@silent_bug("replicas of shards not summed")
def skip_replicas_of_shards(target: MutationTarget) -> Iterator[Mutant]:
    """The gradient of a slice is that of the ranks that share the tensor, without those of its replicas.

    Applies where slices lie over some of the axes over which a gradient is a sum.
    """
    axes = {
        axis
        for parameter in target.parameters
        if (sliced := target.list_slice_axes(parameter))
        for axis in parameter.reduce
        if axis not in sliced and target.count_ranks(axis) > 1
    }
    if axes:
        others = "tuple(axis for axis in axes if axis not in sliced)"
        alone = f"() if sliced else {others}"
        yield target.patch(GRADIENTS, others, alone, "slices alone", over=sorted(axes))


@silent_bug("reduced gradients of one microbatch")
def keep_last_reduction(target: MutationTarget) -> Iterator[Mutant]:
    """The gradients of a module that a backward pass has reduced replace those of the microbatches before.

    Applies where backward passes reduce gradients.
    """
    axes = _list_axes(target)
    if axes and reduces_by_module(target.plan):
        same, add = target.one_microbatch, "torch._foreach_add_(sums, "
        last = "torch._foreach_copy_(sums, "
        yield target.patch(MODULES, add, last, "replaced", over=axes, equivalent=same)


@silent_bug("gradients reduced too early")
def reduce_too_early(target: MutationTarget) -> Iterator[Mutant]:
    """The gradients of an embedding, or of the stage itself, are reduced before the backward pass has them.

    Applies where backward passes reduce gradients.
    """
    axes = _list_axes(target)
    if axes and reduces_by_module(target.plan):
        yield target.patch(PASSES, END, "actions.end_backward()", "when the backward pass begins", over=axes)


@silent_bug("norm of unsummed gradients")
def measure_terms(target: MutationTarget) -> Iterator[Mutant]:
    """The norm is that of whole gradients, of which all but a rank's slice are terms of sums.

    Applies where ranks share updates.
    """
    if axes := _list_axes(target):
        summed, terms = "member.gradient for member", "member.ensure_gradient() for member"
        yield target.patch(GRADIENTS, summed, terms, "of whole tensors", over=axes)


def _count_updated_groups(target: MutationTarget) -> int:
    """How many sets of axes have slices that are gathered after the update."""
    sets = map(target.list_slice_axes, target.parameters)
    return len({axes for axes in sets if axes})


def _list_axes(target: MutationTarget) -> list[str]:
    """The axes whose ranks share some update."""
    return sorted({axis for parameter in target.parameters for axis in target.list_slice_axes(parameter)})
