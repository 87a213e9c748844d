"""A loss that is another number, or whose gradient is another loss's; a vocabulary on several ranks."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

OBJECTIVE = "runtime/objective.py"
VOCABULARY = "runtime/vocabulary.py"
TERM = "return loss + self.balance * packed[1] / (microbatches * self.balance_ranks)"
VALID = "        topology.sum(valid, topology.data)\n        return valid.clamp(min=1)\n"
TOKENS = "    for group in tokens:\n        dist.all_reduce(valid, group=group)\n"
EDITS_OF_LOSS = (
    ("largest logit of each rank", "        dist.all_reduce(largest, dist.ReduceOp.MAX, group=group)\n", ""),
    ("sums of each rank", "        dist.all_reduce(parts, group=group)\n", ""),
    ("off by the logarithm of the ranks", "total.log() - label", "(total * group.size()).log() - label"),
    ("labels of the first rank", "labels - group.rank() * logits.shape[-1]", "labels"),
    (
        "every rank takes a label for its own",
        "-mine.to(wrong.dtype).unsqueeze(-1)",
        "-torch.ones_like(mine, dtype=wrong.dtype).unsqueeze(-1)",
    ),
)
EDITS_OF_EMBEDDING = (
    ("others' rows not zero", "    return torch.where(mine.unsqueeze(-1), found, 0)\n", "    return found\n"),
    ("rows of the first rank", "indices - group.rank() * table.shape[0]", "indices"),
)


@silent_bug("mean of each rank alone")
def average_per_rank(target: MutationTarget) -> Iterator[Mutant]:
    """Each data rank divides by its own number of valid labels; the means are averaged (torchtitan #2206).

    Applies where the loss is a mean over tokens that several ranks hold.
    """
    if target.sample.program.mean:
        if axes := target.find_axes(("cross_entropy",), keyword="tokens"):
            yield target.patch(VOCABULARY, TOKENS, "", "means of ranks summed", over=axes)
    elif target.data:
        own = VALID.replace("        topology.sum(valid, topology.data)\n", "")
        yield target.patch(OBJECTIVE, VALID, own, "means of ranks summed", over=target.data)
        averaged = own.replace("clamp(min=1)", "clamp(min=1) * topology.data_ranks")
        yield target.patch(OBJECTIVE, VALID, averaged, "means of ranks averaged", over=target.data)


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
    text, site = (
        TERM.replace("(microbatches * self.balance_ranks)", "self.balance_ranks"),
        "times the microbatches",
    )
    yield target.patch(OBJECTIVE, TERM, text, site, equivalent=same or target.one_microbatch)
    if target.sample.program.balance_ranks > 1:
        summed = TERM.replace("(microbatches * self.balance_ranks)", "microbatches")
        yield target.patch(OBJECTIVE, TERM, summed, "losses of ranks summed", equivalent=same)
    for axis in target.inner:
        given, text = f"balance={weight!r}, ", f"balance={weight!r} * {target.count_ranks(axis)}, "
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
        call = "dist.broadcast(total, group_src=topology.loss_rank, group=topology.pipeline)"
        yield target.patch(OBJECTIVE, call, "pass", "its stage's", over=target.pipeline)


@silent_bug("vocabulary-parallel loss or lookup off")
def break_vocabulary(target: MutationTarget) -> Iterator[Mutant]:
    """Softmax over a part of the vocabulary, or ids looked up in the wrong part (Megatron-LM #7452).

    Applies where logits, or the table of the embedding, lie on several ranks.
    """
    of_loss = target.find_axes(("cross_entropy",), keyword="vocabulary")
    of_embedding = target.find_axes(("VocabEmbedding", "sharded_embedding"))
    for axes, edits in ((of_loss, EDITS_OF_LOSS), (of_embedding, EDITS_OF_EMBEDDING)):
        for site, old, new in edits if axes else ():
            yield target.patch(VOCABULARY, old, new, site, over=axes)
