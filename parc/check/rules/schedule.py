"""Schedules: what each needs of microbatches and chunks, and with what it cannot be combined.

What PyTorch's schedules refuse is taken from `torch.distributed.pipelining.schedules`, version 2.13.
"""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.divisibility import FARTHEST, count_in_batch, count_ranks, join_values, list_multiples
from parc.check.edits import remove_key, replace_text, set_key
from parc.check.registry import Finding, rule
from parc.check.requests import Candidates, NearestValues
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Pipeline, Plan
from parc.plan.placement import reduces_by_module
from parc.plan.schema.plan import SPLIT, V_SHAPED


@rule("P214")
def too_few_microbatches(plan: Plan) -> Iterator[Finding]:
    """The schedule needs more microbatches than there are.

    `1f1b` needs one microbatch for each stage before the first backward pass, `dualpipev` two for each rank.
    With fewer, PyTorch refuses to run them. Other schedules run, but most stages are idle most of the time.

    ## Example

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 2 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = 1f1b }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 8 }
        }
    """
    pipeline, microbatches = plan.pipeline, count_in_batch(plan, "microbatches")
    if pipeline is None or not (pipeline.schedule == "dualpipev" or _is_1f1b(pipeline)):
        return
    stages = count_ranks(plan, pipeline.axes, "stages")
    needed = stages.number * (2 if pipeline.schedule == "dualpipev" else 1)
    if microbatches.number < needed:
        chunks = " x 2 chunks" if needed > stages.number else ""
        few = "one microbatch is" if microbatches.number == 1 else f"{microbatches} are"
        enough = Candidates(microbatches.factors[0], (range(needed, needed + FARTHEST),))
        yield Finding(
            f"{few} too few for {needed:,} stages under `{pipeline.schedule}`",
            (microbatches.make_label(), stages.make_label(chunks, primary=False)),
            (f"{microbatches.number:,} < {needed:,}",),
            f"at least {needed:,} microbatches, or `schedule = gpipe`",
            advice=NearestValues("nearest that suit", (enough,)),
        )


def _is_1f1b(pipeline: Pipeline) -> bool:
    """Whether it is 1F1B with one stage a rank; with more it is the interleaved schedule."""
    return pipeline.schedule == "1f1b" and pipeline.chunks == 1


def _runs_in_rounds(pipeline: Pipeline) -> bool:
    """Whether the ranks take turns over their chunks, a round of microbatches at a time."""
    return pipeline.schedule in ("interleaved", "zero_bubble") or (
        pipeline.schedule == "1f1b" and pipeline.chunks > 1
    )


@rule("P227")
def uneven_rounds(plan: Plan) -> Iterator[Finding]:
    """The microbatches cannot be divided into the rounds of an interleaved schedule.

    In each round, a rank runs its chunks in turn for at least as many microbatches as there are pipeline
    ranks. All rounds have the same size: on 4 ranks, 10 microbatches make 2 rounds of 5, but 9 cannot be
    divided into 2 equal rounds.

    ## Example

        train first {
          model = moe
          batch { sequences = 36, length = 1024, microbatches = 9 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = interleaved, chunks = 2 }
        }

    ## Instead

        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 8 }
        }
    """
    pipeline, microbatches = plan.pipeline, count_in_batch(plan, "microbatches")
    if pipeline is None or not _runs_in_rounds(pipeline):
        return
    stages = count_ranks(plan, pipeline.axes, "ranks")
    rounds = max(1, microbatches.number // stages.number)
    each, over = divmod(microbatches.number, rounds)
    if over == 0:
        return
    always = list_multiples(microbatches.factors[0], stages.number)
    yield Finding(
        f"{microbatches} cannot be divided into {rounds:,} equal rounds",
        (
            microbatches.make_label(),
            stages.make_label(primary=False),
            Label(pipeline.at("schedule"), "runs in rounds of one microbatch a rank or more", primary=False),
        ),
        (
            f"{microbatches.number:,} // {stages.number:,} = {rounds:,} rounds",
            f"{microbatches.number:,} / {rounds:,} = {each:,}, remainder {over:,}",
        ),
        advice=NearestValues(f"multiples of {stages.number:,} always do", (always,)),
    )


@rule("P228", Severity.WARNING)
def interleaving_with_one_chunk(plan: Plan) -> Iterator[Finding]:
    """The schedule is interleaved, but each rank has only one chunk.

    With one chunk the schedule is `1f1b` and has the bubble of `1f1b`. With c chunks the bubble is c times
    smaller.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = interleaved }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = interleaved, chunks = 2 }
        }
    """
    pipeline = plan.pipeline
    if pipeline and pipeline.schedule == "interleaved" and pipeline.chunks == 1:
        labels = [Label(pipeline.at("schedule"), "interleaves the chunks of a rank")]
        if "chunks" in pipeline.spans:
            labels.append(Label(pipeline.at("chunks"), "one chunk", primary=False))
        yield Finding(
            "the interleaved schedule has one chunk a rank, like `1f1b`",
            tuple(labels),
            help=f"`chunks = 2` or more{_list_chunks(plan, pipeline)}, or `schedule = 1f1b`",
            fix=Fix("write `1f1b`", (set_key(pipeline, "schedule", "1f1b"),)),
        )


def _list_chunks(plan: Plan, pipeline: Pipeline) -> str:
    """Up to which number of chunks the layers are spread evenly."""
    layers, stages = plan.train.model.shape.layers, plan.mesh.product(pipeline.axes)
    if layers is None or layers % stages or layers == stages:
        return ""
    each = layers // stages
    good = [chunks for chunks in range(2, min(each, 64) + 1) if each % chunks == 0]
    return f" (even stages with {join_values(good)})" if good else ""


@rule("P229")
def wrong_chunks_for_v_schedule(plan: Plan) -> Iterator[Finding]:
    """A V-shaped schedule does not have two chunks on each rank.

    `zbv` and `dualpipev` pass down the ranks with the first chunk and back up with the second, so the first
    rank holds both ends of the model.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = zbv }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = zbv, chunks = 2 }
        }
    """
    pipeline = plan.pipeline
    if pipeline is None or pipeline.schedule not in V_SHAPED or pipeline.chunks == 2:
        return
    labels = [Label(pipeline.at("schedule"), "needs 2 chunks a rank")]
    if "chunks" in pipeline.spans:
        labels.append(Label(pipeline.at("chunks"), f"{pipeline.chunks:,} here", primary=False))
    yield Finding(
        f"`{pipeline.schedule}` needs two chunks on each rank, not {pipeline.chunks:,}",
        tuple(labels),
        help="`chunks = 2`",
        fix=Fix("write `chunks = 2`", (set_key(pipeline, "chunks", "2"),), safe=False),
    )


@rule("P309")
def split_backward_with_shared_layers(plan: Plan) -> Iterator[Finding]:
    """A schedule that splits the backward pass is combined with sharded gradients or parameters.

    A layer's gradients are reduced to the slices of ranks, and its gathered parameters freed, when its
    backward pass ends. `zero_bubble`, `zbv` and `dualpipev` compute the gradients of parameters later than
    those of inputs, at no such moment. Optimizer states can be sharded in every schedule: a device keeps the
    parameters and gradients of all its layers then, and its share of masters and moments.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4, dp: 2]
          data     over [dp] { shard = parameters }
          pipeline over [pp] { schedule = zero_bubble }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4, dp: 2]
          data     over [dp] { shard = optimizer }
          pipeline over [pp] { schedule = zero_bubble }
        }
    """
    pipeline, data = plan.pipeline, plan.data
    if pipeline and pipeline.schedule in SPLIT and data and reduces_by_module(plan):
        yield Finding(
            f"`shard = {data.shard}` needs the end of each layer's backward pass, and the schedule "
            f"`{pipeline.schedule}` has none",
            (
                Label(data.at("shard"), "gradients are reduced there"),
                Label(pipeline.at("schedule"), "splits the backward pass", primary=False),
            ),
            help="`shard = optimizer`, or `schedule = interleaved`",
            fix=Fix("write `shard = optimizer`", (replace_text(data.at("shard"), "optimizer"),), safe=False),
        )


@rule("P310")
def split_backward_with_recomputation(plan: Plan) -> Iterator[Finding]:
    """A schedule that splits the backward pass is combined with recomputation.

    Each half would recompute the activations and repeat every exchange of tokens. The schedule would gain
    nothing, and the exchanges of different ranks would no longer match.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = zbv, chunks = 2 }
          recompute = layer
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = zbv, chunks = 2 }
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
            help="`recompute = none`, or `schedule = interleaved`",
            fix=Fix("remove `recompute`", (remove_key(plan, "recompute"),), safe=False) if written else None,
        )
