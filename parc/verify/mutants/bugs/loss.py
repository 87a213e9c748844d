"""A loss that is another number, or whose gradient is another loss's."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

OBJECTIVE = "runtime/objective.py"
TERM = "return loss if self.balance is None else loss + self.balance * packed[1] / microbatches"
VALID = "        topology.sum(valid, topology.data)\n        return valid.clamp(min=1)\n"
TOKENS = (
    "    for group in tokens:\n        dist.all_reduce(valid, group=group)\n    return losses.sum() / valid\n"
)


@silent_bug("mean of each rank alone")
def average_per_rank(target: MutationTarget) -> Iterator[Mutant]:
    """Each data rank divides by its own number of valid labels; the means are averaged (torchtitan #2206).

    Applies where the loss is a mean over tokens that several ranks hold.
    """
    if target.sample.program.mean:
        if axes := target.find_axes(("cross_entropy",), keyword="tokens"):
            own = "    return losses.sum() / valid\n"
            yield target.patch("runtime/vocabulary.py", TOKENS, own, "means of ranks summed", over=axes)
    elif target.data:
        own = VALID.replace("        topology.sum(valid, topology.data)\n", "")
        yield target.patch(OBJECTIVE, VALID, own, "means of ranks summed", over=target.data)
        averaged = own.replace("clamp(min=1)", "clamp(min=1) * topology.data_ranks")
        same = target.explain_single_rank(target.data)
        if target.plan.train.loss.ignore_index < 0:  # no id is negative
            same = same or "no id is ignored: every data rank has as many labels"
        unseen = None if target.uneven else "every data rank has as many labels in this sample"
        site = "means of ranks averaged"
        yield target.patch(OBJECTIVE, VALID, averaged, site, equivalent=same, undetectable=unseen)


@silent_bug("balance loss wrongly scaled or not attached")
def scale_balance(target: MutationTarget) -> Iterator[Mutant]:
    """The balance loss is reported, but its gradient is missing (Megatron-LM #1652) or a multiple of what it
    should be (Megatron-LM #5047).

    Applies where the model returns one beside its logits.
    """
    if not target.sample.program.balanced:
        return
    weight = target.plan.train.loss.balance
    same = None if weight else "its weight is 0"
    yield target.patch(OBJECTIVE, TERM, "return loss", "not added to the loss", equivalent=same)
    packs = "torch.zeros_like(loss) if balance is None else balance]"
    detached = packs.replace("balance]", "balance.detach()]")
    yield target.patch(OBJECTIVE, packs, detached, "detached", equivalent=same)
    text, site = TERM.replace(" / microbatches", ""), "times the microbatches"
    yield target.patch(OBJECTIVE, TERM, text, site, equivalent=same or target.one_microbatch)
    given = f"balance={weight!r}, "
    for axis in target.inner:
        text = given.replace(",", f" * {target.count_ranks(axis)},")
        site = f"its weight times the size of `{axis}`"
        yield target.patch("train.py", given, text, site, over=[axis], equivalent=same)


@silent_bug("figure of one rank reported")
def report_one_rank(target: MutationTarget) -> Iterator[Mutant]:
    """The reported figure is one rank's share, though the gradients are right.

    Applies where losses lie on several ranks.
    """
    program = target.sample.program
    for index, axes, what in ((0, program.loss_axes, "loss"), (1, program.balance_axes, "balance")):
        if axes and (what == "loss" or program.balanced):
            call = f"topology.sum(total[{index}], self.{what}_axes)"
            yield target.patch(OBJECTIVE, call, "pass", f"its {what}", over=axes)
    if target.pipeline:
        call = "dist.broadcast(total, group_src=topology.stages - 1, group=topology.pipeline)"
        yield target.patch(OBJECTIVE, call, "pass", "its stage's", over=target.pipeline)
