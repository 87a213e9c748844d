"""Layers and the stages that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate, takewhile

from parc.check.divisibility import HEADING, count_in_shape, count_ranks, list_divisors_of
from parc.check.edits import set_key
from parc.check.registry import Finding, rule
from parc.check.requests import NearestValues
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Pipeline, Plan
from parc.plan.placement import spread_layers
from parc.plan.schema.plan import V_SHAPED

MOST_SHOWN = 64  # entries of a list of stages that is still read


def _suggest_even(pipeline: Pipeline, layers: int, stages: int) -> tuple[str | None, Fix | None]:
    """Help and fix: the layers spread over the stages as evenly as possible."""
    if not 0 < stages <= min(layers, MOST_SHOWN):
        return None, None
    even = str(list(spread_layers(layers, stages)))
    edit = set_key(pipeline, "layers", even)
    return f"`layers = {even}`", Fix("spread the layers evenly", (edit,), safe=False)


@rule("P211")
def wrong_number_of_stages(plan: Plan) -> Iterator[Finding]:
    """`layers` of the pipeline does not have one entry for each stage.

    A pipeline over 4 ranks has 4 stages with 1 chunk each, and 8 stages with 2 chunks. `layers` gives the
    number of layers of each stage, in order.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = gpipe, layers = [8, 8] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = gpipe, layers = [4, 4, 4, 4] }
        }
    """
    pipeline = plan.pipeline
    if pipeline is None or "layers" not in pipeline.spans:
        return
    stages = count_ranks(plan, pipeline.axes, "ranks")
    wanted = stages.number * pipeline.chunks
    if len(pipeline.layers) == wanted:
        return
    chunks = f" x {pipeline.chunks} chunks = {wanted:,} stages" if pipeline.chunks > 1 else ""
    help, fix = _suggest_even(pipeline, plan.train.model.shape.layers or sum(pipeline.layers), wanted)
    yield Finding(
        f"`layers` has {len(pipeline.layers):,} entries for {wanted:,} stages",
        (
            Label(pipeline.at("layers"), f"{len(pipeline.layers):,} entries"),
            stages.make_label(chunks, primary=False),
        ),
        help=help,
        fix=fix,
    )


@rule("P212")
def wrong_number_of_layers(plan: Plan) -> Iterator[Finding]:
    """The stages together do not have as many layers as the model.

    Every layer belongs to exactly one stage.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = gpipe, layers = [4, 4, 4, 3] }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { schedule = gpipe, layers = [4, 4, 4, 4] }
        }
    """
    pipeline, shape = plan.pipeline, plan.train.model.shape
    if pipeline is None or shape.layers is None or "layers" not in pipeline.spans:
        return
    placed = sum(pipeline.layers)
    if placed == shape.layers:
        return
    total = f"{' + '.join(str(each) for each in pipeline.layers)} = {placed:,}"
    help, fix = _suggest_even(pipeline, shape.layers, plan.mesh.product(pipeline.axes) * pipeline.chunks)
    yield Finding(
        f"the stages have {placed:,} layers, the model {shape.layers:,}",
        (
            Label(pipeline.at("layers"), total if len(total) < 60 else f"{placed:,} together"),
            count_in_shape(plan, "layers").make_label(primary=False),
        ),
        help=help,
        fix=fix,
    )


@rule("P213")
def stage_without_layers(plan: Plan) -> Iterator[Finding]:
    """A stage of the pipeline has no layer.

    Its ranks would only forward what they receive.

    ## Example

        plan wide for first on farm {
          mesh = [pp: 32]
          pipeline over [pp] { schedule = gpipe }
        }

    ## Instead

        plan wide for first on farm {
          mesh = [pp: 16]
          pipeline over [pp] { schedule = gpipe }
        }
    """
    pipeline, shape = plan.pipeline, plan.train.model.shape
    if pipeline is None:
        return
    stages = count_ranks(plan, pipeline.axes, "ranks")
    if "layers" not in pipeline.spans and not pipeline.layers and shape.layers is not None:
        each = f" x {pipeline.chunks} chunks" if pipeline.chunks > 1 else ""
        yield Finding(
            f"{shape.layers:,} layers are too few for {stages.number * pipeline.chunks:,} stages",
            (stages.make_label(each), count_in_shape(plan, "layers").make_label(primary=False)),
            help=f"at most {shape.layers:,} stages",
        )
    if 0 not in pipeline.layers:
        return
    for stage, layers in enumerate(pipeline.layers):
        if layers == 0:
            help, fix = _suggest_even(pipeline, sum(pipeline.layers), len(pipeline.layers))
            label = Label(pipeline.at(f"layers.{stage}"), "none")
            yield Finding(f"stage {stage} has no layer", (label,), help=help, fix=fix)


@rule("P226", Severity.WARNING)
def uneven_stages(plan: Plan) -> Iterator[Finding]:
    """The layers cannot be divided equally among the stages, and the plan does not say which stages get more.

    By default the first stages get one layer more. The last stage also computes the head and the loss, so
    another split may be better. Write `layers` to decide.

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
    stages = count_ranks(plan, pipeline.axes, "ranks")
    count = len(pipeline.layers)
    least, longer = divmod(layers, count)
    if longer == 0:
        return
    chunks = f" x {pipeline.chunks} chunks = {count:,} stages" if pipeline.chunks > 1 else ""
    help, fix = _suggest_even(pipeline, layers, count)
    each, over = divmod(layers, pipeline.chunks)
    sizes = () if over else list_divisors_of(each, stages, fixable=False)
    yield Finding(
        f"{layers:,} layers do not divide evenly into {count:,} stages",
        (stages.make_label(chunks), count_in_shape(plan, "layers").make_label(primary=False)),
        (f"{layers:,} = {longer:,} x {least + 1:,} + {count - longer:,} x {least:,}",),
        help and f"write {help}, or another order",
        fix and fix._replace(title="write `layers`", safe=True),
        NearestValues(HEADING, tuple(sizes)),
    )


@rule("P230", Severity.WARNING)
def stage_without_experts(plan: Plan) -> Iterator[Finding]:
    """All layers of a stage are dense, although the plan distributes experts.

    The first `dense_layers` layers have no experts. Ranks that hold only such layers take no part in the
    exchange of tokens and hold less than the others: they wait, and their memory stays unused.

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
    stages = count_ranks(plan, pipeline.axes, "ranks")
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
                Label(first.extend_to(last) if first and last else stages.span, ends_at),
                Label(shape.at("dense_layers"), f"{shape.dense_layers:,} layers are dense", primary=False),
            ),
            help=f"a first stage of {shape.dense_layers + 1:,} layers or more has experts",
        )
