"""Gradients that are a multiple of what they should be."""

from __future__ import annotations

from collections.abc import Iterator

from parc.ir.states import I, Kind, R
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

OBJECTIVE = "runtime/objective.py"
COMPLETE = "        self.gradients.complete()\n"
REDUCED = """        return _sum_terms(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
"""


@silent_bug("expert gradient scaled")
def scale_expert_gradient(target: MutationTarget) -> Iterator[Mutant]:
    """Experts' gradients are divided by the size of an axis, as those of replicas are whose mean is taken
    (pytorch #160285, DeepSpeed #6546); or multiplied by it.

    Applies where there are experts: to each axis that data or experts lie on.
    """
    if not any(len(parameter.shape) > 2 for parameter in target.parameters):
        return
    for axis in dict.fromkeys((*target.experts, *target.data)):
        for how, call in (("divided", "div_"), ("multiplied", "mul_")):
            text = (
                f"{COMPLETE}        for parameter in self.parameters:\n"
                "            if parameter.tensor.ndim > 2:\n"
                f"                parameter.ensure_gradient().{call}({target.count_ranks(axis)})\n"
            )
            site = f"{how} by the size of `{axis}`"
            yield target.patch("runtime/training.py", COMPLETE, text, site, over=[axis])


@silent_bug("gradient summed once too often")
def sum_again(target: MutationTarget) -> Iterator[Mutant]:
    """A gradient that is whole already, or another shard's, is summed (pytorch #144352: a scale of the axis).

    Applies to every parameter and axis over which its gradient is no sum, and to collectives whose backward
    pass is local.
    """
    for parameter in target.parameters:
        for axis in target.inner:
            if axis not in parameter.reduce:
                site, more = f"{parameter.site} over `{axis}`", (*parameter.reduce, axis)
                yield target.reduce_over(parameter, more, site, over=[axis])
    for at in target.collectives:
        if at.planned.verb == "all_gather" and at.planned.dst == I and at.planned.grad:
            text = at.format_call("all_gather", src=at.planned.src, dst=R)
            yield target.replace_collective(at, text)
    if axes := target.list_axes("all_reduce", Kind.PARTIAL, Kind.INVARIANT):
        text = f"        ctx.group = group\n{REDUCED}"
        text = text.replace("return gradient, None", "return _sum_terms(gradient, ctx.group), None")
        site = "all-reduce backward as well"
        yield target.patch("runtime/collectives.py", REDUCED, text, site, over=axes)


@silent_bug("scaled by microbatches")
def scale_by_microbatches(target: MutationTarget) -> Iterator[Mutant]:
    """The loss, or its gradient, is off by the number of microbatches (torchtitan #2972, pytorch #144352).

    Applies to every plan.
    """
    loss, same = "        loss = packed[0] / divisor\n", target.one_microbatch
    for how, sign in (("divided", "/"), ("multiplied", "*")):
        text = loss.replace("divisor", f"divisor {sign} microbatches")
        yield target.patch(OBJECTIVE, loss, text, f"the loss {how} once more", equivalent=same)
    if target.sample.program.mean:
        count, one = "torch.tensor(len(labels), ", "torch.tensor(1, "
        yield target.patch(OBJECTIVE, count, one, "summed", equivalent=same)


@silent_bug("pipeline scales gradients")
def scale_in_pipeline(target: MutationTarget) -> Iterator[Mutant]:
    """The schedule divides gradients that are whole already (torchtitan #2972).

    Applies where there is a pipeline.
    """
    if target.pipeline:
        file, same = "runtime/pipeline.py", target.one_microbatch
        yield target.patch(file, "scale_grads=False,", "scale_grads=True,", "scale_grads", equivalent=same)
