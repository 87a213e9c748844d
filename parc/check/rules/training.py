"""What a `train` contradicts in itself, and what it gives up of the single-device meaning."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.edits import replaced
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan

BYTES = 256  # values of a token that is a byte


@rule("P231", Severity.WARNING)
def vocabulary_smaller_than_bytes(plan: Plan) -> Iterator[Finding]:
    """The dataset is text as bytes, and the vocabulary has no room for all of them.

    `files(..)` gives bytes, 256 different ones. A token that the embedding does not have ends the run;
    only a corpus of small bytes alone would get through.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 8, vocab = 128 }
        }
        train first {
          model   = moe
          batch   { sequences = 32, length = 1024, microbatches = 4 }
          dataset = files("corpus/*.txt")
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, experts = 8, vocab = 256 }
        }
        train first {
          model   = moe
          batch   { sequences = 32, length = 1024, microbatches = 4 }
          dataset = files("corpus/*.txt")
        }
    """
    dataset, shape = plan.train.dataset, plan.train.model.shape
    if dataset and dataset.kind == "files" and shape.vocab and shape.vocab < BYTES:
        yield Finding(
            f"a vocabulary of {shape.vocab:,} has no room for {BYTES} bytes",
            (
                Label(shape.at("vocab"), f"tokens 0 to {shape.vocab - 1:,}"),
                Label(dataset.span, f"bytes, 0 to {BYTES - 1}", primary=False),
            ),
            help=f'`vocab = {BYTES}` or more, or `tokens("..")` made with a vocabulary of {shape.vocab:,}',
        )


@rule("P232", Severity.WARNING)
def warmup_longer_than_the_run(plan: Plan) -> Iterator[Finding]:
    """The learning rate never gets to where it should rise to.

    `warmup` counts the steps in which it rises, `steps` those of the whole run.

    ## Example

        train first {
          model = moe, steps = 100
          batch { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { warmup = 2000 }
        }

    ## Instead

        train first {
          model = moe, steps = 10000
          batch { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { warmup = 2000 }
        }
    """
    train = plan.train
    if train.optimizer.warmup >= train.steps:
        yield Finding(
            f"the warm-up takes all of the {train.steps:,} steps",
            (
                Label(train.optimizer.at("warmup"), f"{train.optimizer.warmup:,} steps of warm-up"),
                Label(train.at("steps"), f"{train.steps:,} steps in all", primary=False),
            ),
        )


@rule("P233", Severity.WARNING)
def learning_rate_rises_at_the_end(plan: Plan) -> Iterator[Finding]:
    """`min_lr` is more than `lr`: the cosine that should lower the learning rate raises it.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { lr = 3e-4, decay = cosine, min_lr = 3e-3 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { lr = 3e-4, decay = cosine, min_lr = 3e-5 }
        }
    """
    optimizer = plan.train.optimizer
    if optimizer.decay == "cosine" and optimizer.min_lr > optimizer.lr:
        yield Finding(
            f"the learning rate rises from {optimizer.lr:g} to {optimizer.min_lr:g}",
            (
                Label(optimizer.at("min_lr"), "where the cosine ends"),
                Label(optimizer.at("lr"), "where it begins", primary=False),
            ),
        )


@rule("P234", Severity.WARNING)
def masters_coarser_than_compute(plan: Plan) -> Iterator[Finding]:
    """Parameters are kept in fewer bits than they are computed with.

    Each update would be rounded to the masters' type, and with it lose what the wider arithmetic gained.

    ## Example

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = fp64, master = fp32 }
        }

    ## Instead

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = fp64, master = fp64 }
        }
    """
    both = plan.train.precision
    if both.compute == "fp64" and both.master == "fp32":
        labels = [Label(both.at("compute"), "computed in 64 bits")]
        fix = None
        if "master" in both.spans:
            labels.append(Label(both.at("master"), "kept in 32", primary=False))
            fix = Fix("write `master = fp64`", (replaced(both.at("master"), "fp64"),), safe=False)
        yield Finding(
            "what is computed in fp64 is kept in fp32", tuple(labels), help="`master = fp64`", fix=fix
        )


@rule("P312", Severity.INFO, always=True)
def tokens_dropped(plan: Plan) -> Iterator[Finding]:
    """With a `capacity`, experts drop the tokens that they have no room for.

    Which tokens these are depends on the ranks that they are on. So the loss, too, depends on the plan, and
    is not that of one device. Without a capacity no token is dropped.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          approximate { capacity = 1.25 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
        }
    """
    train, shape = plan.train, plan.train.model.shape
    if train.approximate is None or train.approximate.capacity is None or shape.experts == 0:
        return
    capacity = train.approximate.capacity
    notes: tuple[str, ...] = ()
    if shape.experts and shape.top_k:
        tokens = train.batch.sequences * train.batch.length // train.batch.microbatches
        rows = int(tokens * shape.top_k / shape.experts * capacity)
        share = f"{tokens:,} tokens x {shape.top_k} / {shape.experts:,} experts"
        notes = (
            f"{share} x {capacity:g} = {rows:,} rows of an expert in a microbatch; no more are computed",
        )
    yield Finding(
        f"tokens beyond {capacity:g} times an expert's even share are dropped",
        (Label(train.approximate.at("capacity"), "the loss is not that of one device"),),
        notes,
    )


@rule("P313", Severity.INFO, always=True)
def balance_of_each_rank(plan: Plan) -> Iterator[Finding]:
    """The balance loss is that of each rank's own tokens, not of the microbatch.

    It is a product of two means, so that the mean over ranks is not what one device computes: it differs with
    the number of data ranks. It saves an all-reduce of two small vectors a layer.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          loss  { balance = 0.01 }
          approximate { balance = rank }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 4 }
          loss  { balance = 0.01 }
        }
    """
    approximate = plan.train.approximate
    data = plan.mesh.product(plan.data.axes) if plan.data else 1
    if approximate and approximate.balance == "rank":
        yield Finding(
            "the balance loss is taken over each rank's tokens alone",
            (Label(approximate.at("balance"), "the loss is not that of one device"),),
            (f"a mean over {data:,} ranks of products, in place of one product of means",),
        )
