"""What must divide by the axes that split it."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.alternatives import MEAN, balanced
from parc.check.arithmetic import Count, division, either, near, ranks, resized
from parc.check.edits import replaced
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label
from parc.plan.facts import Plan


def _split(plan: Plan, key: str, number: int | None, things: str) -> Iterator[Finding]:
    """By the tensor axes, unless the plan says which parameters are replicated: then building judges."""
    if plan.tensor and number and not plan.tensor.replicate:
        amount = Count(number, things, plan.train.model.shape.at(key))
        fix = resized(plan, plan.tensor.axes, number)
        yield from division(amount, ranks(plan, plan.tensor.axes, "ranks"), fix)


def _dense(plan: Plan) -> bool:
    """Whether some layer has no experts, as far as the file says."""
    shape = plan.train.model.shape
    return shape.dense_layers > 0 or (plan.experts is None and not shape.experts)


@rule("P203")
def heads_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The attention heads do not divide by the tensor axes.

    Each rank of a tensor axis computes whole heads: a head that is cut would need an exchange inside the
    softmax.

    ## Example

        plan wide for first on farm {
          mesh = [tp: 3]
          tensor  over [tp]
          experts over [tp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [tp: 4]
          tensor  over [tp]
          experts over [tp]
        }
    """
    yield from _split(plan, "heads", plan.train.model.shape.heads, "heads")


@rule("P204")
def kv_heads_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The key-value heads do not divide by the tensor axes.

    A rank needs the keys and values of its own query heads, so these too are split by whole heads.

    ## Example

        plan wide for first on farm {
          mesh = [tp: 16]
          tensor  over [tp]
          experts over [tp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [dp: 2, tp: 8]
          data    over [dp]
          tensor  over [tp]
          experts over [tp]
        }
    """
    yield from _split(plan, "kv_heads", plan.train.model.shape.kv_heads, "kv_heads")


@rule("P205")
def ffn_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """A feed-forward width does not divide by the axes that split it.

    The inner width of a dense layer or of a shared expert is split over the tensor axes, that of an expert
    over the axes which `experts` names under `tensor`. All ranks hold slices of one width.

    ## Example

        plan wide for first on farm {
          mesh = [ep: 2, tp: 6]
          data    over [ep]
          experts over [ep] { tensor = [tp] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 2, tp: 8]
          data    over [ep]
          tensor  over [tp]
          experts over [ep] { tensor = [tp] }
        }
    """
    shape = plan.train.model.shape
    if _dense(plan):
        key = "dense_ffn" if shape.dense_ffn else "ffn"
        yield from _split(plan, key, shape.dense_ffn or shape.ffn, key)
    yield from _split(plan, "shared_ffn", shape.shared_ffn, "shared_ffn")
    if plan.experts and plan.experts.tensor and shape.ffn and shape.experts != 0:
        amount = Count(shape.ffn, "ffn", shape.at("ffn"))
        fix = resized(plan, plan.experts.tensor, shape.ffn)
        yield from division(amount, ranks(plan, plan.experts.tensor, "ranks"), fix)


@rule("P206")
def vocabulary_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """The vocabulary does not divide by the tensor axes.

    Embedding, head and loss are split by rows of the vocabulary. Padding it is a change of the model, so the
    model is where it is done: a few unused tokens cost little.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, heads = 16, experts = 8, vocab = 50257 }
        }
        plan wide for first on farm {
          mesh = [tp: 8]
          tensor  over [tp]
          experts over [tp]
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, heads = 16, experts = 8, vocab = 50264 }
        }
        plan wide for first on farm {
          mesh = [tp: 8]
          tensor  over [tp]
          experts over [tp]
        }
    """
    yield from _split(plan, "vocab", plan.train.model.shape.vocab, "tokens of the vocabulary")


@rule("P207")
def experts_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The experts do not divide by the axes that carry them.

    Every expert has one home in each replica, and every rank the same number of experts.

    ## Example

        plan wide for first on farm {
          mesh = [ep: 3]
          experts over [ep]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [ep: 4]
          data    over [ep]
          experts over [ep]
        }
    """
    shape = plan.train.model.shape
    if plan.experts and shape.experts:
        amount = Count(shape.experts, "experts", shape.at("experts"))
        fix = resized(plan, plan.experts.axes, shape.experts)
        yield from division(amount, ranks(plan, plan.experts.axes, "ranks"), fix)


@rule("P208")
def sequences_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The batch does not divide into microbatches of whole sequences for every data rank.

    Each microbatch is an equal part of the batch, and each data rank takes an equal part of it. There is no
    half a sequence.

    ## Example

        train first {
          model = moe
          batch { sequences = 128, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 256, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [dp: 8]
          data over [dp]
        }
    """
    batch = plan.train.batch
    data = ranks(plan, plan.data.axes if plan.data else (), "data ranks")
    parts = batch.microbatches * data.number
    if batch.sequences % parts == 0:
        return
    labels = [
        Label(batch.at("sequences"), f"{batch.sequences:,} sequences"),
        Label(batch.at("microbatches"), f"{batch.microbatches:,} microbatches", primary=False),
    ]
    divisor = f"{batch.microbatches:,} microbatches"
    cures = [f"sequences: {either(near(batch.sequences, multiples_of=parts))}"]
    if data.number > 1:
        labels.append(Label(data.span, f"{data.number:,} {data.things}", primary=False))
        divisor = f"({divisor} x {data.number:,} data ranks)"
    fix = None
    if batch.sequences % data.number == 0:
        nearest = near(batch.microbatches, batch.sequences // data.number)
        cures.append(f"microbatches: {either(nearest)}" + (f" ({MEAN})" if balanced(plan) else ""))
        if len(nearest) == 1 and "microbatches" in batch.spans:
            edit = replaced(batch.at("microbatches"), nearest[0])
            fix = Fix(f"write `microbatches = {nearest[0]}`", (edit,), safe=False)
    yield Finding(
        f"{batch.sequences:,} sequences cannot be divided into {divisor.strip('()')}",
        tuple(labels),
        (f"{batch.sequences:,} / {divisor} = {batch.sequences / parts:.3g} sequences each",),
        "nearest that divide: " + "; ".join(cures),
        fix,
    )


@rule("P209")
def length_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """With `sequence = true`, the length of the sequences does not divide by the tensor axes.

    Between attention and experts each rank of the tensor axis then holds an equal part of every sequence.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1022 }
        }
        plan wide for first on farm {
          mesh = [tp: 4]
          tensor over [tp] { sequence = true }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024 }
        }
        plan wide for first on farm {
          mesh = [tp: 4]
          tensor over [tp] { sequence = true }
        }
    """
    batch = plan.train.batch
    if plan.tensor and plan.tensor.sequence:
        amount = Count(batch.length, "positions of a sequence", batch.at("length"))
        yield from division(amount, ranks(plan, plan.tensor.axes, "ranks"))
