"""Schedules: what each needs of microbatches and chunks, and with what it cannot be combined.

What PyTorch's schedules refuse is taken from `torch.distributed.pipelining.schedules`, version 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.advice.nearest import FARTHEST, either, multiples, nearest, of_batch, told
from parc.check.divisibility import ranks
from parc.check.edits import option, replaced, without_option
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Pipeline, Plan
from parc.plan.schema.plan import SPLIT, V_SHAPED


@rule("P214")
def too_few_microbatches(plan: Plan) -> Iterator[Finding]:
    """There are fewer microbatches than stages under a schedule that needs one in every stage.

    `1f1b` fills the pipeline with a microbatch a stage before the first backward pass, `dualpipev` with two a
    rank. With fewer, PyTorch refuses to run them; other schedules run, but most stages wait most of the time.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 2 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "1f1b" }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 8 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "1f1b" }
        }
    """
    pipeline, batch = plan.pipeline, plan.train.batch
    if pipeline is None or not (pipeline.schedule == "dualpipev" or one_by_one(pipeline)):
        return
    stages = ranks(plan, pipeline.axes, "stages")
    needed = stages.number * (2 if pipeline.schedule == "dualpipev" else 1)
    if batch.microbatches < needed:
        chunks = " x 2 chunks" if needed > stages.number else ""
        yield Finding(
            f"{_microbatches(batch.microbatches)} too few for {needed:,} stages under `{pipeline.schedule}`",
            (
                Label(batch.at("microbatches"), f"{batch.microbatches:,} microbatches"),
                Label(stages.span, f"{stages.number:,} {stages.things}{chunks}", primary=False),
            ),
            (f"{batch.microbatches:,} < {needed:,}",),
            f'at least {needed:,} microbatches{_enough(plan, needed)}, or `schedule = "gpipe"`',
        )


def _enough(plan: Plan, needed: int) -> str:
    """The least number that is enough and suits the batch."""
    number = of_batch(plan, "microbatches", "microbatches")
    near = nearest(plan, "P214", number, [range(needed, needed + FARTHEST)])
    suits = near.values if near else []
    return f" (the nearest that suits: {either(suits)})" if suits and suits != [needed] else ""


def _microbatches(number: int) -> str:
    return f"{number:,} microbatches are" if number != 1 else "one microbatch is"


def one_by_one(pipeline: Pipeline) -> bool:
    """Whether it is 1F1B with one stage a rank; with more it is the interleaved schedule."""
    return pipeline.schedule == "1f1b" and pipeline.chunks == 1


def in_rounds(pipeline: Pipeline) -> bool:
    """Whether the ranks take turns over their chunks, a round of microbatches at a time."""
    return pipeline.schedule in ("interleaved", "zero_bubble") or (
        pipeline.schedule == "1f1b" and pipeline.chunks > 1
    )


@rule("P227")
def microbatches_do_not_fill_rounds(plan: Plan) -> Iterator[Finding]:
    """The microbatches do not divide into the rounds of an interleaved schedule.

    A rank runs its chunks in turn, for a round of at least as many microbatches as there are pipeline ranks.
    All rounds are equal: 10 microbatches over 4 ranks are 2 rounds of 5, but 9 are no 2 equal rounds.

    ## Example

        train first {
          model = moe
          batch { sequences = 36, length = 1024, microbatches = 9 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "interleaved", chunks = 2 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 8 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "interleaved", chunks = 2 }
        }
    """
    pipeline, batch = plan.pipeline, plan.train.batch
    if pipeline is None or not in_rounds(pipeline):
        return
    stages = ranks(plan, pipeline.axes, "ranks")
    rounds = max(1, batch.microbatches // stages.number)
    each, over = divmod(batch.microbatches, rounds)
    if over == 0:
        return
    count = of_batch(plan, "microbatches", "microbatches")
    always = nearest(plan, "P227", count, multiples(count, stages.number))
    yield Finding(
        f"{batch.microbatches:,} microbatches do not divide into {rounds:,} rounds",
        (
            Label(batch.at("microbatches"), f"{batch.microbatches:,} microbatches"),
            Label(stages.span, f"{stages.number:,} {stages.things}", primary=False),
            Label(pipeline.at("schedule"), "runs in rounds of one microbatch a rank or more", primary=False),
        ),
        (
            f"{batch.microbatches:,} // {stages.number:,} = {rounds:,} rounds",
            f"{batch.microbatches:,} / {rounds:,} = {each:,}, remainder {over:,}",
        ),
        told(f"multiples of {stages.number:,} always do", [always]),
    )


@rule("P228", Severity.WARNING)
def interleaving_of_one_chunk(plan: Plan) -> Iterator[Finding]:
    """The schedule is interleaved, but each rank has one chunk: there is nothing to interleave.

    With one chunk the schedule is `1f1b`, and its bubble that of `1f1b`. With c chunks it is a c-th of that.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "interleaved" }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "interleaved", chunks = 2 }
        }
    """
    pipeline = plan.pipeline
    if pipeline and pipeline.schedule == "interleaved" and pipeline.chunks == 1:
        labels = [Label(pipeline.at("schedule"), "interleaves the chunks of a rank")]
        if "chunks" in pipeline.spans:
            labels.append(Label(pipeline.at("chunks"), "one chunk", primary=False))
        yield Finding(
            "the interleaved schedule has one chunk a rank: it is `1f1b`",
            tuple(labels),
            help=f'`chunks = 2` or more{_chunks_that_divide(plan, pipeline)}, or `schedule = "1f1b"`',
            fix=Fix('write `"1f1b"`, which it is', (option(pipeline, "schedule", '"1f1b"'),)),
        )


def _chunks_that_divide(plan: Plan, pipeline: Pipeline) -> str:
    """Up to which number of chunks the layers are spread evenly."""
    layers, stages = plan.train.model.shape.layers, plan.mesh.product(pipeline.axes)
    if layers is None or layers % stages or layers == stages:
        return ""
    each = layers // stages
    good = [chunks for chunks in range(2, min(each, 64) + 1) if each % chunks == 0]
    return f" (even stages with {either(good)})" if good else ""


@rule("P229")
def chunks_of_a_v(plan: Plan) -> Iterator[Finding]:
    """A schedule in the shape of a V has two chunks a rank, neither more nor fewer.

    `zbv` and `dualpipev` run down the ranks with the first chunk and up again with the second, so that the
    first rank has both ends of the model.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "zbv" }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "zbv", chunks = 2 }
        }
    """
    pipeline = plan.pipeline
    if pipeline is None or pipeline.schedule not in V_SHAPED or pipeline.chunks == 2:
        return
    labels = [Label(pipeline.at("schedule"), "needs 2 chunks a rank")]
    if "chunks" in pipeline.spans:
        labels.append(Label(pipeline.at("chunks"), f"{pipeline.chunks:,} here", primary=False))
    yield Finding(
        f"`{pipeline.schedule}` has two chunks a rank, not {pipeline.chunks:,}",
        tuple(labels),
        help="`chunks = 2`",
        fix=Fix("write `chunks = 2`", (option(pipeline, "chunks", "2"),), safe=False),
    )


@rule("P309")
def split_backward_of_sharded_parameters(plan: Plan) -> Iterator[Finding]:
    """A schedule that splits the backward pass cannot go with sharded parameters.

    `zero_bubble`, `zbv` and `dualpipev` compute the gradients of parameters later than those of inputs. By
    then parameters that were gathered for the first half are gone: PyTorch then gives wrong gradients, and no
    error. Sharding the optimizer's state alone is fine.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4, dp: 2]
          data     over [dp] { shard = parameters }
          pipeline over [pp] { schedule = "zero_bubble" }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4, dp: 2]
          data     over [dp] { shard = optimizer }
          pipeline over [pp] { schedule = "zero_bubble" }
        }
    """
    pipeline, data = plan.pipeline, plan.data
    if pipeline and pipeline.schedule in SPLIT and data and data.shard == "parameters":
        yield Finding(
            f"the schedule `{pipeline.schedule}` gives wrong gradients with sharded parameters",
            (
                Label(data.at("shard"), "gathered for each half, gone between the two"),
                Label(pipeline.at("schedule"), "splits the backward pass", primary=False),
            ),
            help='`shard = optimizer`, or `schedule = "interleaved"`',
            fix=Fix("write `shard = optimizer`", (replaced(data.at("shard"), "optimizer"),), safe=False),
        )


@rule("P310")
def split_backward_of_recomputed_layers(plan: Plan) -> Iterator[Finding]:
    """A schedule that splits the backward pass cannot go with recomputed activations.

    Each half would compute the activations again, and with them repeat every exchange of tokens. That undoes
    what the schedule is for, and the exchanges of different ranks no longer match.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "zbv", chunks = 2 }
          recompute = layer
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "zbv", chunks = 2 }
        }
    """
    pipeline = plan.pipeline
    if pipeline and pipeline.schedule in SPLIT and plan.recompute != "none":
        written = "recompute" in plan.spans  # an alternative to the plan has what nobody wrote
        yield Finding(
            f"the schedule `{pipeline.schedule}` would recompute each layer twice",
            (
                Label(plan.at("recompute"), "once for each half"),
                Label(pipeline.at("schedule"), "splits the backward pass", primary=False),
            ),
            help='`recompute = none`, or `schedule = "interleaved"`',
            fix=Fix("recompute nothing", (without_option(plan, "recompute"),), safe=False)
            if written
            else None,
        )
