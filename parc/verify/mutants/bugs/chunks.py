"""Several stages on a rank: one of them twice, in another order, or forgotten; backward passes in halves."""

from __future__ import annotations

from collections.abc import Iterator

from parc.verify.mutants.registry import silent_bug
from parc.verify.mutants.target import Mutant, MutationTarget

PIPELINE = "runtime/pipeline.py"
TRAINING = "runtime/training.py"
PAIRED = "for stage, number in zip(stages, topology.stages, strict=True)"
BUILT = "spec.build(topology.mesh, spec.first_layer) for spec in specs"
PLACED = "        for stage in stages\n        for parameter in place_parameters("
COUNTED = "            for stage in stages\n            for name, counts in stage.named_buffers()"


@silent_bug("a chunk twice")
def repeat_chunk(target: MutationTarget) -> Iterator[Mutant]:
    """A rank runs its first stage in the place of each, or each with the layers of the first.

    Applies where a rank has several stages.
    """
    if target.chunks > 1:
        again = PAIRED.replace("zip(stages,", "zip(stages[:1] * len(stages),")
        yield target.patch(PIPELINE, PAIRED, again, "the first stage in the place of each")
        layers = BUILT.replace("spec.first_layer)", "specs[0].first_layer)")
        yield target.patch("train.py", BUILT, layers, "each with the layers of the first")


@silent_bug("chunks in another order")
def reverse_chunks(target: MutationTarget) -> Iterator[Mutant]:
    """The stages of a rank change places, or follow each other on a rank instead of going round the ranks.

    Applies where a rank has several stages.
    """
    if target.chunks > 1:
        yield target.patch(PIPELINE, PAIRED, PAIRED.replace("zip(stages,", "zip(stages[::-1],"), "reversed")
        yield target.patch("train.py", BUILT, BUILT.replace("in specs", "in specs[::-1]"), "built in reverse")
        rule, text = "tuple(range(rank, count, ranks))", "tuple(range(rank * chunks, (rank + 1) * chunks))"
        if target.v_shaped:
            rule, text = "(rank, count - 1 - rank) if", "(rank, ranks + rank) if"
        yield target.patch("runtime/topology.py", rule, text, "on other ranks", over=target.pipeline)


@silent_bug("gradient in another layout")
def keep_layout(target: MutationTarget) -> Iterator[Mutant]:
    """A gradient keeps the layout in which it is computed, and the optimizer reads memory in order.

    Seen in torch 2.13: a backward pass that is split sets `weight.grad` to what autograd returns, which is
    transposed for weights of experts. Applies where a schedule splits the backward pass of experts.
    """
    if target.split and target.banks:
        yield target.patch(PIPELINE, "        if self.split:", "        if False:", "as it is computed")


@silent_bug("a chunk left out")
def forget_chunk(target: MutationTarget) -> Iterator[Mutant]:
    """What is done with all parameters, or all experts, of a rank is done with those of its first stage.

    Applies where a rank has several stages; to the counts of tokens, where there are experts.
    """
    if target.chunks > 1:
        text = PLACED.replace("in stages", "in stages[:1]")
        yield target.patch("train.py", PLACED, text, "parameters of the first stage alone")
    if target.chunks > 1 and target.banks:
        text = COUNTED.replace("in stages", "in stages[:1]")
        yield target.patch(TRAINING, COUNTED, text, "tokens of experts of the first stage alone")
