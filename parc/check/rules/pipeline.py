"""Layers and stages, microbatches and schedules."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.arithmetic import ranks
from parc.check.registry import Finding, rule
from parc.diagnostic import Label
from parc.plan.facts import Plan
from parc.plan.resolve.where import spread


@rule("P211")
def stages_without_a_count(plan: Plan) -> Iterator[Finding]:
    """`layers` of the pipeline does not have one entry for every stage.

    A pipeline over an axis of 4 ranks with 1 chunk each has 4 stages; with 2 chunks it has 8. `layers` says
    how many layers each of them has, in order.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "gpipe", layers = [8, 8] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "gpipe", layers = [4, 4, 4, 4] }
        }
    """
    pipeline = plan.pipeline
    if pipeline is None or "layers" not in pipeline.spans:
        return
    stages = ranks(plan, pipeline.axes, "ranks")
    wanted = stages.number * pipeline.chunks
    if len(pipeline.layers) == wanted:
        return
    chunks = f" x {pipeline.chunks} chunks = {wanted:,} stages" if pipeline.chunks > 1 else ""
    even = spread(sum(pipeline.layers), wanted)
    yield Finding(
        f"`layers` has {len(pipeline.layers):,} entries for {wanted:,} stages",
        (
            Label(pipeline.at("layers"), f"{len(pipeline.layers):,} entries"),
            Label(stages.span, f"{stages.number:,} {stages.things}{chunks}", primary=False),
        ),
        help=f"as even as can be: `layers = {list(even)}`" if 0 < len(even) <= 64 else None,
    )


@rule("P212")
def layers_not_all_placed(plan: Plan) -> Iterator[Finding]:
    """The stages together have more or fewer layers than the model.

    Every layer has one stage. A layer too few would be left out of the model, one too many does not exist.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "gpipe", layers = [4, 4, 4, 3] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = "gpipe", layers = [4, 4, 4, 4] }
        }
    """
    pipeline, shape = plan.pipeline, plan.train.model.shape
    if pipeline is None or shape.layers is None or "layers" not in pipeline.spans:
        return
    placed = sum(pipeline.layers)
    if placed == shape.layers:
        return
    total = f"{' + '.join(str(each) for each in pipeline.layers)} = {placed:,}"
    even = spread(shape.layers, len(pipeline.layers)) if pipeline.layers else ()
    yield Finding(
        f"the stages have {placed:,} layers, the model {shape.layers:,}",
        (
            Label(pipeline.at("layers"), total if len(total) < 60 else f"{placed:,} together"),
            Label(shape.at("layers"), f"{shape.layers:,} layers", primary=False),
        ),
        help=f"as even as can be: `layers = {list(even)}`" if 0 < len(even) <= 64 else None,
    )


@rule("P213")
def stage_without_layers(plan: Plan) -> Iterator[Finding]:
    """A stage of the pipeline has no layer.

    Its ranks would only hand on what they get.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 32]
          pipeline over [pp] { schedule = "gpipe" }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 16]
          pipeline over [pp] { schedule = "gpipe" }
        }
    """
    pipeline, shape = plan.pipeline, plan.train.model.shape
    if pipeline is None:
        return
    stages = ranks(plan, pipeline.axes, "ranks")
    if "layers" not in pipeline.spans and not pipeline.layers and shape.layers is not None:
        each = f" x {pipeline.chunks} chunks" if pipeline.chunks > 1 else ""
        yield Finding(
            f"{shape.layers:,} layers are too few for {stages.number * pipeline.chunks:,} stages",
            (
                Label(stages.span, f"{stages.number:,} {stages.things}{each}"),
                Label(shape.at("layers"), f"{shape.layers:,} layers", primary=False),
            ),
            help=f"at most {shape.layers:,} stages",
        )
    elif 0 in pipeline.layers:
        stage = pipeline.layers.index(0)
        yield Finding(
            f"stage {stage} has no layer", (Label(pipeline.at("layers"), f"entry {stage + 1} is 0"),)
        )


@rule("P214")
def too_few_microbatches(plan: Plan) -> Iterator[Finding]:
    """There are fewer microbatches than stages under a schedule that needs one in every stage.

    `1f1b` fills the pipeline with a microbatch a stage before the first backward pass. With fewer, PyTorch's
    schedules refuse to run; `gpipe` does not, but most of its stages would wait most of the time.

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
    if pipeline is None or pipeline.schedule == "gpipe":
        return
    stages = ranks(plan, pipeline.axes, "stages")
    if batch.microbatches < stages.number:
        yield Finding(
            f"{batch.microbatches:,} microbatches are too few for {stages.number:,} stages under"
            f" `{pipeline.schedule}`",
            (
                Label(batch.at("microbatches"), f"{batch.microbatches:,} microbatches"),
                Label(stages.span, f"{stages.number:,} {stages.things}", primary=False),
            ),
            (f"{batch.microbatches:,} < {stages.number:,}",),
            f'at least {stages.number:,} microbatches, or `schedule = "gpipe"`',
        )
