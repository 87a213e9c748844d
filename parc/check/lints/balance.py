"""How evenly work lies on the stages of a pipeline, and how long they wait for one another."""

from __future__ import annotations

from collections.abc import Iterator

from parc.check.advice import alternatives as other
from parc.check.advice.alternatives import Alternative
from parc.check.costs import Costs, Unknown, costs
from parc.check.edits import option
from parc.check.registry import Finding, rule
from parc.check.rules.pipeline import MOST_SHOWN
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Pipeline, Plan

BETTER = 0.95  # of a step's time: what another layout must save to be worth a warning
SAME = 1.001  # times another time, what counts as equal
LONG = 0.25  # share of the pipeline's time that a device waits


@rule("P326", Severity.WARNING)
def unbalanced_stages(plan: Plan) -> Iterator[Finding]:
    """One stage takes longer than the others, and another split of the layers would be faster.

    Every microbatch waits for the slowest stage. Layers are not all that counts: the last stage has the
    output matmul and the loss besides, the first layers may be dense. Told is a split of the same layers that
    the cost model finds at least 5% faster, and that needs no more memory than there is.

    ## Example

        cluster farm {
          levels = [node: 4]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp] { layers = [2, 2, 6, 6] }
        }

    ## Instead

        cluster farm {
          levels = [node: 4]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        train first {
          model = moe
          batch { sequences = 32, length = 1024, microbatches = 32 }
        }
        plan wide for first on farm {
          mesh = [pp: 4]
          pipeline over [pp]
        }
    """
    pipeline = plan.pipeline
    if pipeline is None:
        return
    try:
        known = costs(plan)
        known.require_even()
        now, work = known.step.seconds, _work(known)
        if sum(work) / len(work) > BETTER * max(work) or (better := _balanced(plan, pipeline, work)) is None:
            return
        then = better.costs.step.seconds
        if then > BETTER * now or not _fits(better.costs):
            return
        from parc.cost.figure import format_quantity

        notes = (
            f"forward pass of a microbatch by stage: {_times(known)}",
            f"with the other split: {_times(better.costs)}",
            f"predicted step: {format_quantity(now, 's')}, with the other split {format_quantity(then, 's')}",
        )
    except Unknown:
        return
    slow = max(range(len(pipeline.layers)), key=lambda stage: known.step.forward[stage].seconds)
    yield Finding(
        f"stage {slow} takes longest, and the others wait for it",
        (Label(pipeline.at("layers"), f"{pipeline.layers[slow]} layers in stage {slow}"),),
        notes,
        f"`{better.text}`",
        Fix("split the layers so", better.edits, safe=False),
    )


@rule("P327", Severity.WARNING)
def long_bubble(plan: Plan) -> Iterator[Finding]:
    """Devices wait for more than a quarter of the pipeline's time, and the batch could be cut finer.

    A pipeline fills and drains once a step. With m microbatches on p ranks of v chunks each, a device waits
    (p - 1) / (v m + p - 1) of the time: more microbatches, or several chunks a rank, make that less. Told is
    what the cost model finds at least 5% faster.

    ## Example

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        train first {
          model = moe
          batch { sequences = 64, length = 4096, microbatches = 4 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [dp: 2, pp: 4]
          data     over [dp]
          experts  over [dp]
          pipeline over [pp]
        }

    ## Instead

        cluster farm {
          levels = [node: 8]
          device { compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }
          link node { bandwidth = 450 GB/s, latency = 3 us }
        }
        train first {
          model = moe
          batch { sequences = 64, length = 4096, microbatches = 16 }
          precision { compute = bf16 }
        }
        plan wide for first on farm {
          mesh = [dp: 2, pp: 4]
          data     over [dp]
          experts  over [dp]
          pipeline over [pp]
        }
    """
    if plan.pipeline is None:
        return
    known = costs(plan)
    try:
        known.require_even()
        now = known.step.seconds
        from parc.check.claims.counts import bubble
        from parc.cost.figure import format_quantity

        share = bubble(known)
    except Unknown:
        return
    if share.value <= LONG:
        return
    best = _finer(plan, now)
    if best is None:
        return
    seconds = other.priced(best) or now
    yield Finding(
        f"devices wait {share.value:.0%} of the pipeline's time",
        (
            Label(plan.train.batch.at("microbatches"), f"{plan.train.batch.microbatches:,} microbatches"),
            Label(plan.pipeline.span, f"{len(plan.pipeline.layers):,} stages", primary=False),
        ),
        (
            share.how,
            f"with `{best.text}`: {bubble(best.costs).how}",
            f"predicted step: {format_quantity(now, 's')}, with it {format_quantity(seconds, 's')}",
        ),
        f"`{best.text}`{other.caveat(best.costs.plan, plan)}",
        Fix(f"write `{best.text}`", best.edits, safe=False) if best.edits else None,
    )


def _finer(plan: Plan, now: float) -> Alternative | None:
    """The fastest of more microbatches, or else of more chunks, if that is clearly faster and fits.

    With a balance loss, chunks come first: the layout alone.
    """
    makers = [other.more_microbatches, other.more_chunks]
    for make in reversed(makers) if other.balanced(plan) else makers:
        found = [each for each in other.fewer(make, plan) if _fits(each.costs)]
        timed = [(seconds, at) for at, each in enumerate(found) if (seconds := other.priced(each))]
        least = min(timed, default=None)
        if least and least[0] <= BETTER * now:
            return found[least[1]]
    return None


def _balanced(plan: Plan, pipeline: Pipeline, work: list[float]) -> Alternative | None:
    """The layers dealt out one by one, each to the stage that would have least to do; None: as they are.

    Costs of a layer are taken from the stages as they stand: dense layers of a model with experts come first,
    so a stage's own mean is used for each of its layers.
    """
    from dataclasses import replace

    layers = pipeline.layers
    if len(layers) < 2 or len(layers) > MOST_SHOWN or 0 in layers:
        return None
    head = _head(costs(plan))
    each = [(total - (head if at == len(layers) - 1 else 0.0)) / layers[at] for at, total in enumerate(work)]
    split = [1] * len(layers)
    for _ in range(sum(layers) - len(layers)):
        loads = [count * one + one for count, one in zip(split, each, strict=True)]
        loads[-1] += head
        # Of stages that are as good, a later one has fewer microbatches in flight.
        split[max(at for at, load in enumerate(loads) if load <= SAME * min(loads))] += 1
    loads = [count * one for count, one in zip(split, each, strict=True)]
    loads[-1] += head
    # A step takes (m - 1) x the slowest stage + the sum of all stages: it gains no more than the slowest one.
    if tuple(split) == layers or max(loads) > BETTER * max(work):
        return None
    other_pipeline = replace(pipeline, layers=tuple(split))
    edit = option(pipeline, "layers", str(split))
    return Alternative(f"layers = {split}", Costs(replace(plan, pipeline=other_pipeline)), (edit,))


def _work(known: Costs) -> list[float]:
    """Seconds of one microbatch by stage, there and back."""
    step = known.step
    return [ahead.seconds + back.seconds for ahead, back in zip(step.forward, step.backward, strict=True)]


def _head(known: Costs) -> float:
    """Seconds of what the last stage has besides its layers, of one microbatch."""
    from parc.cost.timing.pass_times import derive_effective_links, predict_passes

    job, constants = known.timed, known.known.constants
    links, last = derive_effective_links(job.require_hardware(), constants), job.stages[-1]
    with_head = predict_passes(job, last, links, constants)
    without = predict_passes(job, last._replace(has_head=False), links, constants)
    return sum(each.seconds for each in with_head) - sum(each.seconds for each in without)


def _fits(known: Costs) -> bool:
    """Whether the plan fits in the devices' memory; whatever is not known fits."""
    device = known.plan.cluster.device
    try:
        return not (device and device.memory) or max(each.value for each in known.memory) <= device.memory
    except Unknown:
        return True


def _times(known: Costs) -> str:
    from parc.cost.figure import format_quantity

    shown = [format_quantity(each.seconds, "s") for each in known.step.forward[:8]]
    return ", ".join(shown) + (", .." if len(known.step.forward) > 8 else "")
