"""Numbers that must be divisible by the axes that split them."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.divisibility import (
    HEADING,
    check_division,
    count_in_batch,
    count_in_shape,
    count_ranks,
    list_divisors,
    list_multiples,
)
from parc.check.registry import Finding, rule
from parc.check.requests import NearestValues
from parc.plan.blocks import Plan


def _check_split(plan: Plan, key: str, things: str | None = None) -> Iterator[Finding]:
    """Of a number that the tensor axes split, unless `replicate` lists parameters: then building decides."""
    if plan.tensor and getattr(plan.train.model.shape, key) and not plan.tensor.replicate:
        parts = count_ranks(plan, plan.tensor.axes, "ranks")
        yield from check_division(count_in_shape(plan, key, things), parts)


def _has_dense_layers(plan: Plan) -> bool:
    """Whether some layer has no experts, as far as the file says."""
    shape = plan.train.model.shape
    some = shape.dense_layers > 0 or shape.expert_layers not in (None, shape.layers)
    return some or (plan.experts is None and not shape.experts)


@rule("P203")
def heads_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The number of attention heads is not divisible by the number of tensor ranks.

    Each tensor rank computes whole heads. To split a head, ranks would have to communicate inside the
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
    yield from _check_split(plan, "heads")


@rule("P204")
def kv_heads_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The number of key-value heads is not divisible by the number of tensor ranks.

    A rank needs the keys and values of its own query heads, so key-value heads are not split either.

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
    yield from _check_split(plan, "kv_heads")


@rule("P205")
def ffn_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """A feed-forward width is not divisible by the number of ranks that split it.

    The inner width of a dense layer or of a shared expert is split over the tensor axes. That of a routed
    expert is split over the axes that `experts` lists under `tensor`. All ranks hold slices of the same
    width.

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
    if _has_dense_layers(plan):
        yield from _check_split(plan, "ffn" if shape.dense_ffn is None else "dense_ffn")
    yield from _check_split(plan, "shared_ffn")
    if plan.experts and plan.experts.tensor and shape.ffn and shape.experts != 0:
        parts = count_ranks(plan, plan.experts.tensor, "ranks")
        yield from check_division(count_in_shape(plan, "ffn"), parts)


@rule("P206")
def vocabulary_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """The size of the vocabulary is not divisible by the number of tensor ranks.

    Embedding, head and loss are split by rows of the vocabulary. Padding the vocabulary changes the model,
    so pad it there: a few unused tokens cost little.

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
    """
    yield from _check_split(plan, "vocab", "tokens of the vocabulary")


@rule("P207")
def experts_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The number of experts is not divisible by the number of ranks that carry them.

    Every rank holds the same number of experts, and every expert lies on one rank of each replica.

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
        parts = count_ranks(plan, plan.experts.axes, "ranks")
        yield from check_division(count_in_shape(plan, "experts"), parts)


@rule("P208")
def sequences_do_not_divide(plan: Plan) -> Iterator[Finding]:
    """The batch cannot be divided into microbatches of whole sequences for every data rank.

    All microbatches have the same size, and so have the parts of a microbatch on the data ranks. A sequence
    is not split.

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
    """
    sequences, microbatches = count_in_batch(plan, "sequences"), count_in_batch(plan, "microbatches")
    data = count_ranks(plan, plan.list_axes("data"), "data ranks")
    parts = microbatches.number * data.number
    if sequences.number % parts == 0:
        return
    labels = [sequences.make_label(), microbatches.make_label(primary=False)]
    divisor = str(microbatches)
    candidates = [list_multiples(sequences.factors[0], parts)]
    if data.number > 1:
        labels.append(data.make_label(primary=False))
        divisor = f"({divisor} x {data.number:,} data ranks)"
    if sequences.number % data.number == 0:
        each = sequences.number // data.number
        candidates.append(list_divisors(microbatches.factors[0], each, fixable=True))
    yield Finding(
        f"{sequences} cannot be divided into {divisor.strip('()')}",
        tuple(labels),
        (f"{sequences.number:,} / {divisor} = {_format_share(sequences.number / parts)} sequences each",),
        advice=NearestValues(HEADING, tuple(candidates)),
    )


def _format_share(value: float) -> str:
    """2.67, 0.0312, 6,250.06: three digits, and whole ones in full."""
    return f"{value:.3g}" if value < 100 else f"{value:,.2f}"


@rule("P209")
def length_does_not_divide(plan: Plan) -> Iterator[Finding]:
    """With `sequence = true`, the length of a sequence is not divisible by the number of tensor ranks.

    Between attention and experts, each tensor rank holds an equal part of every sequence.

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
    """
    if plan.tensor and plan.tensor.sequence:
        length = count_in_batch(plan, "length", "positions of a sequence")
        yield from check_division(length, count_ranks(plan, plan.tensor.axes, "ranks"))
