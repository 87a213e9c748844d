"""Gradients that are a multiple of what they should be."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from parc.ir.states import I, Kind, R
from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Subject

TRAINING = "runtime/training.py"
SUMMED = "        self.gradients.complete()\n        return"
REDUCED = """        return _sum_terms(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None
"""


@silent_bug("expert gradient scaled")
def experts(subject: Subject) -> Iterator[Mutant]:
    """Experts' gradients are divided by the size of an axis, as replicas' are whose mean is taken
    (pytorch #160285, DeepSpeed #6546); or multiplied by it.

    Applies where experts are spread: to each axis that data or experts lie on.
    """
    spread = subject.plan.experts.axes if subject.plan.experts else ()
    if not any(len(parameter.shape) > 2 for parameter in subject.parameters):
        return
    for axis in dict.fromkeys((*spread, *subject.data)):
        for how, call in (("divided", "div_"), ("multiplied", "mul_")):
            text = SUMMED.replace(
                "        return",
                "        for parameter in self.parameters:\n"
                "            if parameter.tensor.ndim > 2:\n"
                f"                parameter.ensure_gradient().{call}({subject.size(axis)})\n"
                "        return",
            )
            site = f"{how} by the size of `{axis}`"
            yield subject.patch(TRAINING, SUMMED, text, site, subject.alone([axis]))


@silent_bug("gradient summed once too often")
def again(subject: Subject) -> Iterator[Mutant]:
    """A gradient that is whole already, or another shard's, is summed (pytorch #144352: a scale of the axis).

    Applies to every parameter and axis over which its gradient is no sum, and to moves whose answer in the
    backward pass is local.
    """
    for parameter in subject.parameters:
        node = parameter.keyword("reduce")
        for axis in subject.inner:
            if axis in parameter.reduce:
                continue
            site, same = f"{parameter.site} over `{axis}`", subject.alone([axis])
            more = repr((*parameter.reduce, axis))
            if node is not None:
                yield subject.edit(parameter.file, node, more, site, same)
            else:
                text = f"{ast.unparse(parameter.call)[:-1]}, reduce={more})"
                yield subject.edit(parameter.file, parameter.call, text, site, same)
    for moved in subject.moves:
        if moved.move.verb == "all_gather" and moved.move.dst == I and moved.move.grad:
            text = moved.call("all_gather", src=moved.move.src, dst=R)
            yield subject.move(moved, text, subject.alone([moved.move.axis]))
    if axes := subject.axes_of("all_reduce", Kind.PARTIAL, Kind.INVARIANT):
        text = REDUCED.replace(
            "        return _sum_terms(x", "        ctx.group = group\n        return _sum_terms(x"
        )
        text = text.replace("return gradient, None", "return _sum_terms(gradient, ctx.group), None")
        yield subject.patch(
            "runtime/collectives.py", REDUCED, text, "all-reduce backward as well", subject.alone(axes)
        )


@silent_bug("scaled by microbatches")
def microbatches(subject: Subject) -> Iterator[Mutant]:
    """The loss, or its gradient, is off by the number of microbatches (torchtitan #2972, pytorch #144352).

    Applies to every plan; a pipeline has a place more.
    """
    same = "one microbatch" if subject.microbatches == 1 else None
    loss = "        loss = packed[0] / divisor\n"
    for how, sign in (("divided", "/"), ("multiplied", "*")):
        text = loss.replace("divisor", f"divisor {sign} microbatches")
        yield subject.patch("runtime/objective.py", loss, text, f"the loss {how} once more", same)
    if not subject.trial.program.mean:
        return
    yield subject.patch(
        "runtime/objective.py", "torch.tensor(len(labels), ", "torch.tensor(1, ", "summed", same
    )


@silent_bug("pipeline scales gradients")
def pipeline(subject: Subject) -> Iterator[Mutant]:
    """The schedule divides gradients that are whole already (torchtitan #2972).

    Applies where there is a pipeline.
    """
    if subject.pipeline:
        same = "one microbatch" if subject.microbatches == 1 else None
        yield subject.patch(
            "runtime/pipeline.py", "scale_grads=False,", "scale_grads=True,", "scale_grads", same
        )
