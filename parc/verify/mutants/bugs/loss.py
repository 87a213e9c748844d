"""A loss that is another number, or whose gradient is another loss's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from parc.verify.mutants.mutant import Mutant
from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Subject

OBJECTIVE = "runtime/objective.py"
TERM = "return loss if self.balance is None else loss + self.balance * packed[1] / microbatches"
VALID = "        topology.sum(valid, topology.data)\n        return valid.clamp(min=1)\n"
TOKENS = (
    "    for group in tokens:\n        dist.all_reduce(valid, group=group)\n    return losses.sum() / valid\n"
)
ALL_VALID = "no id is ignored: every data rank has as many labels"


@silent_bug("mean of each rank alone")
def mean(subject: Subject) -> Iterator[Mutant]:
    """Each data rank divides by its own number of valid labels; the means are averaged (torchtitan #2206).

    Applies where the loss is a mean over tokens that several ranks hold.
    """
    if not subject.trial.program.mean:
        if not subject.data:
            return
        same = subject.alone(subject.data)
        own = VALID.replace("        topology.sum(valid, topology.data)\n", "")
        yield subject.patch(OBJECTIVE, VALID, own, "means of ranks summed", same)
        averaged = own.replace("clamp(min=1)", "clamp(min=1) * topology.data_ranks")
        if subject.plan.train.loss.ignore_index < 0:  # ids are not
            same = same or ALL_VALID
        found = subject.patch(OBJECTIVE, VALID, averaged, "means of ranks averaged", same)
        even = None if same or subject.uneven else "every data rank has as many labels in this trial"
        yield replace(found, undetectable=even)
    elif axes := subject.said(r"tokens=\(.*?self\.(\w+)"):
        same = subject.alone(axes)
        own = "    return losses.sum() / valid\n"
        yield subject.patch("runtime/vocabulary.py", TOKENS, own, "means of ranks summed", same)


@silent_bug("balance loss wrongly scaled or not attached")
def balance(subject: Subject) -> Iterator[Mutant]:
    """The balance loss is reported, but its gradient is missing (Megatron-LM #1652) or a multiple of what it
    should be (Megatron-LM #5047).

    Applies where the model returns one beside its logits.
    """
    if not subject.trial.program.balanced:
        return
    weight = subject.plan.train.loss.balance
    nothing = None if weight else "its weight is 0"
    yield subject.patch(OBJECTIVE, TERM, "return loss", "not added to the loss", nothing)
    packs = "torch.zeros_like(loss) if balance is None else balance]"
    yield subject.patch(OBJECTIVE, packs, packs.replace("balance]", "balance.detach()]"), "detached", nothing)
    one = nothing or ("one microbatch" if subject.microbatches == 1 else None)
    yield subject.patch(OBJECTIVE, TERM, TERM.replace(" / microbatches", ""), "times the microbatches", one)
    given = f"balance={weight!r}, "
    for axis in subject.inner:
        size = subject.size(axis)
        text = given.replace(",", f" * {size},")
        same = nothing or subject.alone([axis])
        yield subject.patch("train.py", given, text, f"its weight times the size of `{axis}`", same)


@silent_bug("figure of one rank reported")
def reported(subject: Subject) -> Iterator[Mutant]:
    """What is logged is one rank's share, though the gradients are right.

    Applies where losses lie on several ranks.
    """
    program = subject.trial.program
    for index, axes, what in ((0, program.loss_axes, "loss"), (1, program.balance_axes, "balance")):
        if axes and (what == "loss" or program.balanced):
            call = f"topology.sum(total[{index}], self.{what}_axes)"
            yield subject.patch(OBJECTIVE, call, "pass", f"its {what}", subject.alone(axes))
    if subject.pipeline:
        call = "dist.broadcast(total, group_src=topology.stages - 1, group=topology.pipeline)"
        yield subject.patch(OBJECTIVE, call, "pass", "its stage's", subject.alone(subject.pipeline))
