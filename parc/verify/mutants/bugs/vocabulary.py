"""A vocabulary that lies on several ranks."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

LOSS = (
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
EMBEDDING = (
    ("others' rows not zero", "    return torch.where(mine.unsqueeze(-1), found, 0)\n", "    return found\n"),
    ("rows of the first rank", "indices - group.rank() * table.shape[0]", "indices"),
)


@silent_bug("vocabulary-parallel loss or lookup off")
def break_vocabulary(target: MutationTarget) -> Iterator[Mutant]:
    """Softmax over a part of the vocabulary, or ids looked up in the wrong part (Megatron-LM #7452).

    Applies where logits, or the table of the embedding, lie on several ranks.
    """
    for axes, edits in (
        (target.find_axes(("cross_entropy",), keyword="vocabulary"), LOSS),
        (target.find_axes(("VocabEmbedding", "sharded_embedding")), EMBEDDING),
    ):
        for site, old, new in edits if axes else ():
            yield target.patch("runtime/vocabulary.py", old, new, site, over=axes)
