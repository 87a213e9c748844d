"""What must divide by the axes that split it."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.advice.alternatives import MEAN, balanced
from parc.check.advice.nearest import divisors, multiples, nearest, of_batch, told
from parc.check.divisibility import Count, division, of_model, ranks
from parc.check.registry import Finding, rule
from parc.diagnostic import Label
from parc.plan.blocks import Plan


def _split(plan: Plan, code: str, key: str, things: str | None = None) -> Iterator[Finding]:
    """By the tensor axes, unless the plan says which parameters are replicated: then building judges."""
    if plan.tensor and getattr(plan.train.model.shape, key) and not plan.tensor.replicate:
        yield from division(plan, code, of_model(plan, key, things), ranks(plan, plan.tensor.axes, "ranks"))


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
    yield from _split(plan, "P203", "heads")


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
    yield from _split(plan, "P204", "kv_heads")


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
        yield from _split(plan, "P205", "dense_ffn" if shape.dense_ffn else "ffn")
    yield from _split(plan, "P205", "shared_ffn")
    if plan.experts and plan.experts.tensor and shape.ffn and shape.experts != 0:
        parts = ranks(plan, plan.experts.tensor, "ranks")
        yield from division(plan, "P205", of_model(plan, "ffn"), parts)


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
    yield from _split(plan, "P206", "vocab", "tokens of the vocabulary")


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
        parts = ranks(plan, plan.experts.axes, "ranks")
        yield from division(plan, "P207", of_model(plan, "experts"), parts)


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
    sequences = of_batch(plan, "sequences", "sequences")
    cures = [nearest(plan, "P208", sequences, multiples(sequences, parts))]
    if data.number > 1:
        labels.append(Label(data.span, f"{data.number:,} {data.things}", primary=False))
        divisor = f"({divisor} x {data.number:,} data ranks)"
    fewer = None
    if batch.sequences % data.number == 0:
        count = of_batch(plan, "microbatches", "microbatches")
        fewer = nearest(plan, "P208", count, divisors(count, batch.sequences // data.number))
    help = told("nearest that divide", (*cures, fewer))
    if help and fewer and fewer.values and balanced(plan):
        help += f" ({MEAN})"
    yield Finding(
        f"{batch.sequences:,} sequences cannot be divided into {divisor.strip('()')}",
        tuple(labels),
        (f"{batch.sequences:,} / {divisor} = {_share(batch.sequences / parts)} sequences each",),
        help,
        fewer.fix if fewer else None,
    )


def _share(value: float) -> str:
    """2.67, 0.0312, 6,250.06: three digits, and whole ones in full."""
    return f"{value:.3g}" if value < 100 else f"{value:,.2f}"


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
        length = of_batch(plan, "length", "positions of a sequence")
        amount = Count(batch.length, length.things, batch.at("length"), (length,))
        yield from division(plan, "P209", amount, ranks(plan, plan.tensor.axes, "ranks"))
