"""Layers and the stages that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, takewhile

from parc.check.advice.nearest import told
from parc.check.divisibility import ranks, that_divide
from parc.check.edits import option
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Pipeline, Plan
from parc.plan.placement import spread_layers
from parc.plan.schema.plan import V_SHAPED

MOST_SHOWN = 64  # entries of a list of stages that is still read


def _even(pipeline: Pipeline, layers: int, stages: int) -> tuple[str | None, Fix | None]:
    """Help and fix: the layers spread over the stages as evenly as can be."""
    if not 0 < stages <= min(layers, MOST_SHOWN):
        return None, None
    even = str(list(spread_layers(layers, stages)))
    edit = option(pipeline, "layers", even)
    return f"as even as can be: `layers = {even}`", Fix("spread the layers evenly", (edit,), safe=False)


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
    help, fix = _even(pipeline, plan.train.model.shape.layers or sum(pipeline.layers), wanted)
    yield Finding(
        f"`layers` has {len(pipeline.layers):,} entries for {wanted:,} stages",
        (
            Label(pipeline.at("layers"), f"{len(pipeline.layers):,} entries"),
            Label(stages.span, f"{stages.number:,} {stages.things}{chunks}", primary=False),
        ),
        help=help,
        fix=fix,
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
    help, fix = _even(pipeline, shape.layers, plan.mesh.product(pipeline.axes) * pipeline.chunks)
    yield Finding(
        f"the stages have {placed:,} layers, the model {shape.layers:,}",
        (
            Label(pipeline.at("layers"), total if len(total) < 60 else f"{placed:,} together"),
            Label(shape.at("layers"), f"{shape.layers:,} layers", primary=False),
        ),
        help=help,
        fix=fix,
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
    if 0 not in pipeline.layers:
        return
    for stage, layers in enumerate(pipeline.layers):
        if layers == 0:
            help, fix = _even(pipeline, sum(pipeline.layers), len(pipeline.layers))
            label = Label(pipeline.at(f"layers.{stage}"), "none")
            yield Finding(f"stage {stage} has no layer", (label,), help=help, fix=fix)


@rule("P226", Severity.WARNING)
def layers_spread_unevenly(plan: Plan) -> Iterator[Finding]:
    """The layers do not divide by the stages, and the plan does not say which stage gets more.

    Left alone, the first stages get one layer more. The last one has the head and the loss besides: a stage
    with fewer layers is best put where the other work is. Writing `layers` down is the decision.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 3]
          pipeline over [pp]
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 3]
          pipeline over [pp] { layers = [5, 6, 5] }
        }
    """
    pipeline, layers = plan.pipeline, plan.train.model.shape.layers
    if pipeline is None or layers is None or "layers" in pipeline.spans or not pipeline.layers:
        return
    if pipeline.schedule in V_SHAPED and pipeline.chunks != 2:
        return  # there will be another number of stages
    stages = ranks(plan, pipeline.axes, "ranks")
    count = len(pipeline.layers)
    least, longer = divmod(layers, count)
    if longer == 0:
        return
    chunks = f" x {pipeline.chunks} chunks = {count:,} stages" if pipeline.chunks > 1 else ""
    help, fix = _even(pipeline, layers, count)
    yield Finding(
        f"{layers:,} layers do not divide evenly into {count:,} stages",
        (
            Label(stages.span, f"{stages.number:,} {stages.things}{chunks}"),
            Label(plan.train.model.shape.at("layers"), f"{layers:,} layers", primary=False),
        ),
        (f"{layers:,} = {longer:,} x {least + 1:,} + {count - longer:,} x {least:,}", *_that_divide(plan)),
        help and f"say so: {help.split(': ')[1]}, or in another order",
        fix and Fix("write down what each stage gets", fix.edits),
    )


def _that_divide(plan: Plan) -> Iterator[str]:
    """Sizes of the pipeline's axes that divide the layers: the other cure, where there are any."""
    pipeline, layers = plan.pipeline, plan.train.model.shape.layers
    assert pipeline
    assert layers is not None
    if layers % pipeline.chunks == 0:
        each = layers // pipeline.chunks
        found = that_divide(plan, "P226", each, ranks(plan, pipeline.axes, "ranks"))
        if help := told("nearest that divide", [near for near in found if near.values]):
            yield help


@rule("P230", Severity.WARNING)
def stage_without_experts(plan: Plan) -> Iterator[Finding]:
    """All layers of a stage are dense, though the plan lays experts over an axis.

    The first `dense_layers` layers have no experts. Ranks that hold none but such layers have no part in any
    exchange of tokens and hold less than the others: they wait, and their memory is idle.

    ## Example

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, dense_layers = 4, experts = 8 }
        }
        plan wide for first on farm {
          mesh = [ep: 2, pp: 4]
          data     over [ep]
          experts  over [ep]
          pipeline over [pp]
        }

    ## Instead

        model moe {
          source = "moe.py:MoETransformer"
          shape { layers = 16, dense_layers = 4, experts = 8 }
        }
        plan wide for first on farm {
          mesh = [ep: 2, pp: 4]
          data     over [ep]
          experts  over [ep]
          pipeline over [pp] { layers = [6, 4, 3, 3] }
        }
    """
    pipeline, shape = plan.pipeline, plan.train.model.shape
    if pipeline is None or plan.experts is None or not shape.experts or pipeline.schedule in V_SHAPED:
        return
    stages = ranks(plan, pipeline.axes, "ranks")
    if len(pipeline.layers) != stages.number * pipeline.chunks or sum(pipeline.layers) <= shape.dense_layers:
        return
    dense = sum(1 for _ in takewhile(lambda end: end <= shape.dense_layers, accumulate(pipeline.layers)))
    # The last chunk of a rank is the one that may have experts.
    bare = dense - stages.number * (pipeline.chunks - 1)
    if bare > 0 and plan.mesh.product(plan.experts.axes) > 1:
        first, last = pipeline.spans.get("layers.0"), pipeline.spans.get(f"layers.{bare - 1}")
        ends_at = f"the dense layers end in stage {dense}"
        which = "the first stage has" if bare == 1 else f"the first {bare:,} stages have"
        yield Finding(
            f"{which} no layer with experts",
            (
                Label(first.to(last) if first and last else stages.span, ends_at),
                Label(shape.at("dense_layers"), f"{shape.dense_layers:,} layers are dense", primary=False),
            ),
            help=f"a first stage of {shape.dense_layers + 1:,} layers or more has experts",
        )
