"""What a `train` contradicts in itself, and what it gives up of the single-device meaning."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from parc.check.edits import replace_text
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import BITS, Plan

BYTES = 256  # values of a token that is a byte
BF16_BITS = 8  # significant ones


@rule("P231", Severity.WARNING)
def vocabulary_smaller_than_bytes(plan: Plan) -> Iterator[Finding]:
    """The dataset is text read as bytes, and the vocabulary is smaller than the 256 values of a byte.

    A token outside the vocabulary ends the run with an error in the embedding.

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
def warmup_too_long(plan: Plan) -> Iterator[Finding]:
    """The warm-up of the learning rate is as long as the whole run, or longer.

    `warmup` is the number of steps in which the learning rate rises, `steps` the number of steps of the run.

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
def min_lr_above_lr(plan: Plan) -> Iterator[Finding]:
    """`min_lr` is larger than `lr`, so the cosine schedule raises the learning rate.

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
def master_precision_too_low(plan: Plan) -> Iterator[Finding]:
    """Parameters are stored with fewer bits than they are computed with.

    Each update is rounded to the type of the master weights, which loses what the more precise arithmetic
    gained.

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
    compute, master = both.compute, both.master
    if BITS[master] < BITS[compute]:
        labels = [Label(both.at("compute"), f"computed in {BITS[compute]} bits")]
        fix = None
        if "master" in both.spans:
            labels.append(Label(both.at("master"), f"stored in {BITS[master]} bits", primary=False))
            fix = Fix(f"write `master = {compute}`", (replace_text(both.at("master"), compute),), safe=False)
        yield Finding(
            f"parameters are computed in {compute}, but stored in {master}",
            tuple(labels),
            help=f"`master = {compute}`",
            fix=fix,
        )


@rule("P236", Severity.WARNING)
def moments_too_coarse(plan: Plan) -> Iterator[Finding]:
    """A mean of gradients changes so little in a step that the type it is kept in rounds the change away.

    Each step takes a share of `1 - beta` off the old mean. Where that is no more than half the distance to
    the next number, the mean is rounded back to what it was: it never gets smaller, however small the
    gradients become. `bf16` has 8 significant bits, so that it needs a beta below 1 - 2^-8 = 0.9961.

    ## Example

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { beta2 = 0.999 }
          precision { compute = bf16, master = fp32, moments = bf16 }
        }

    ## Instead

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          optimizer = adamw { beta2 = 0.99 }
          precision { compute = bf16, master = fp32, moments = bf16 }
        }
    """
    optimizer, precision = plan.train.optimizer, plan.train.precision
    if precision.moments != "bf16":
        return
    half = 2.0**-BF16_BITS
    where = precision.at("moments" if "moments" in precision.spans else "master")
    for key, what in (("beta1", "mean of the gradients"), ("beta2", "mean of their squares")):
        beta: float = getattr(optimizer, key)
        if 1 - half <= beta < 1:
            yield Finding(
                f"with `{key} = {beta:g}` the {what} never gets smaller: bf16 rounds each change away",
                (
                    Label(optimizer.at(key), f"takes {1 - beta:.2g} of it off in a step"),
                    Label(where, f"kept in {BF16_BITS} significant bits", primary=False),
                ),
                notes=(f"half the distance to the next number is up to 2^-{BF16_BITS} = {half:.2g} of it",),
                help=f"`moments = fp32`, or `{key}` below {1 - half:.4f}",
            )


@rule("P237")
def kept_parameters_with_coarser_masters(plan: Plan) -> Iterator[Finding]:
    """Parameters are kept in fp32, and the optimizer updates them in fewer bits.

    A parameter that `keep_fp32` names is its own master: the optimizer updates it in place. With masters of
    16 bits each update would be rounded to these, and the model would compute in 32 bits with what is left.

    ## Example

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = bf16, master = bf16, keep_fp32 = [norms, router] }
        }

    ## Instead

        train first {
          model = moe
          batch     { sequences = 32, length = 1024, microbatches = 4 }
          precision { compute = bf16, master = fp32, keep_fp32 = [norms, router] }
        }
    """
    types = plan.train.precision
    if types.keep_fp32 and BITS[types.master] < BITS["fp32"]:
        yield Finding(
            f"parameters are kept in fp32, but their masters in {types.master}",
            (
                Label(types.at("keep_fp32"), "32 bits"),
                Label(types.at("master"), f"{BITS[types.master]} bits", primary=False),
            ),
            help="`master = fp32`",
            fix=Fix("write `master = fp32`", (replace_text(types.at("master"), "fp32"),), safe=False),
        )


@rule("P312", Severity.INFO, always=True)
def tokens_dropped(plan: Plan) -> Iterator[Finding]:
    """With a `capacity`, experts drop the tokens that exceed it.

    An expert takes the first tokens of a microbatch that choose it, up to `capacity` times its even share,
    rounded up. For the others it adds nothing, so that the loss differs from that of the model alone. Every
    plan drops the same tokens. Without a capacity no token is dropped.

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
        from fractions import Fraction  # noqa: PLC0415 - start-up time

        rows = ceil(Fraction(str(capacity)) * tokens * shape.top_k / shape.experts)
        share = f"{tokens:,} tokens x {shape.top_k} / {shape.experts:,} experts"
        notes = (f"{share} x {capacity:g}: at most {rows:,} rows of an expert in a microbatch",)
    yield Finding(
        f"tokens beyond {capacity:g} times an expert's even share are dropped",
        (Label(train.approximate.at("capacity"), "the loss is not that of the model alone"),),
        notes,
    )


@rule("P313", Severity.INFO, always=True)
def balance_loss_per_rank(plan: Plan) -> Iterator[Finding]:
    """The balance loss is computed from each rank's own tokens, not from the whole microbatch.

    The balance loss is a product of two means, so the mean over ranks differs from that of the whole
    microbatch. A single device computes it by dividing each microbatch into as many groups of sequences as
    there are data ranks: two plans agree if they have equally many. Along a sequence that `tensor` splits the
    loss is that of whole sequences. It saves an all-reduce of a small vector in each layer.

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
    data = plan.mesh.product(plan.list_axes("data"))
    if approximate and approximate.balance == "rank":
        yield Finding(
            "the balance loss is computed from each rank's tokens alone",
            (Label(approximate.at("balance"), "the loss is not that of the whole microbatch"),),
            (f"it is the mean over {data:,} ranks of products, instead of one product of means",),
        )
