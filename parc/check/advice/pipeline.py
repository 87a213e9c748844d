"""Pipelines that wait less: layers split over the stages otherwise, more microbatches, more chunks."""

from __future__ import annotations

from parc.check.advice.alternatives import (
    Alternative,
    depends_on_microbatches,
    describe_caveat,
    generate,
    interleave_more,
    raise_microbatches,
    set_layers,
)
from parc.check.advice.memory import fits
from parc.check.claims.counts import derive_bubble
from parc.check.costs import Costs
from parc.check.lints.balance import BETTER, format_seconds, list_work
from parc.check.registry import Finding
from parc.cost.figure import format_quantity
from parc.cost.timing.pass_times import predict_passes

MAX_LAYERS = 10_000  # that are dealt out one by one
SAME = 1.001  # times another time, what counts as equal


def add_balanced(costs: Costs, finding: Finding) -> Finding | None:
    """The finding with another split of the layers, if one makes steps clearly shorter and fits."""
    better = _balance(costs)
    if better is None or not _is_faster(better, costs):
        return None
    step = better.costs.step
    notes = (
        f"with the other split: {format_seconds([each.seconds for each in step.forward])}",
        f"predicted step with it: {format_quantity(step.seconds, 's')}",
    )
    fix = better.make_fix("write this split")
    return finding._replace(notes=(*finding.notes, *notes), help=f"`{better.text}`", fix=fix)


def add_finer(costs: Costs, finding: Finding) -> Finding | None:
    """The finding with more microbatches, or else with more chunks, where that is clearly faster and fits.

    With a balance loss, chunks come first: the layout alone.
    """
    plan = costs.plan
    kinds = [raise_microbatches, interleave_more]
    for kind in reversed(kinds) if depends_on_microbatches(plan) else kinds:
        found = [each for each in generate(kind, plan) if each.seconds and fits(each)]
        best = min(found, key=lambda each: each.seconds or 0.0, default=None)
        if best and _is_faster(best, costs):
            notes = (
                f"with `{best.text}`: {derive_bubble(best.costs).how}",
                f"predicted step with it: {format_quantity(best.costs.step.seconds, 's')}",
            )
            help = f"`{best.text}`{describe_caveat(best.plan, plan)}"
            return finding._replace(notes=(*finding.notes, *notes), help=help, fix=best.make_fix())
    return None


def _is_faster(other: Alternative, costs: Costs) -> bool:
    return other.costs.step.seconds <= BETTER * costs.step.seconds and fits(other)


def _balance(costs: Costs) -> Alternative | None:
    """The layers dealt out one by one, each to the stage that would have least to do; None: as they are.

    Costs of a layer are taken from the stages as they stand: dense layers of a model with experts come first,
    so a stage's own mean is used for each of its layers.
    """
    pipeline, work, head = costs.plan.pipeline, list_work(costs), _time_head(costs)
    assert pipeline
    layers, last = pipeline.layers, len(pipeline.layers) - 1
    if sum(layers) > MAX_LAYERS:
        return None
    each = [(total - (head if at == last else 0.0)) / layers[at] for at, total in enumerate(work)]
    split = [1] * len(layers)

    def list_loads(more: int) -> list[float]:
        loads = [(count + more) * one for count, one in zip(split, each, strict=True)]
        loads[-1] += head
        return loads

    for _ in range(sum(layers) - len(layers)):
        loads = list_loads(1)
        # Of stages that are as good, a later one has fewer microbatches in flight.
        split[max(at for at, load in enumerate(loads) if load <= SAME * min(loads))] += 1
    # A step takes (m - 1) x the slowest stage + the sum of all stages: it gains no more than the slowest one.
    if tuple(split) == layers or max(list_loads(0)) > BETTER * max(work):
        return None
    return set_layers(costs.plan, split)


def _time_head(costs: Costs) -> float:
    """Seconds that the last stage takes for more than its layers, for one microbatch."""
    job, constants = costs.timed_job, costs.calibration.constants
    last = job.stages[-1]
    with_head = predict_passes(job, last, costs.links, constants)
    without = predict_passes(job, last._replace(has_head=False), costs.links, constants)
    return sum(each.seconds for each in with_head) - sum(each.seconds for each in without)
