"""What a device must hold against what it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from parc.check.advice import alternatives as other
from parc.check.advice.alternatives import Alternative
from parc.check.costs import Costs, Unknown, costs
from parc.check.registry import Finding, rule
from parc.diagnostic import Fix, Label, Severity
from parc.plan.blocks import Plan

if TYPE_CHECKING:
    from parc.cost.figure import Figure

FULL = 0.92  # of the memory: the rest is for fragments, and what the runtime itself takes
MOST_STAGES = 8  # whose memory is shown
MOST_CURES = 3


@rule("P322")
def out_of_memory(plan: Plan) -> Iterator[Finding]:
    """A device would hold more than it can.

    Parameters, gradients and the optimizer's state are arithmetic; activations are what layers keep between
    their forward and backward pass, of every microbatch that the schedule has in flight. Early stages of a
    pipeline have more microbatches in flight, the last one has the logits. Between the halves of a backward
    pass (`zero_bubble`, `zbv`, `dualpipev`) PyTorch keeps all that the forward pass left, and gradients too.

    ## Example

        cluster farm {
          levels = [node: 4]
          device { compute = 312 TFLOPS, memory = 16 GB, memory_bandwidth = 2 TB/s }
          link node { bandwidth = 300 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        cluster farm {
          levels = [node: 4]
          device { compute = 312 TFLOPS, memory = 16 GB, memory_bandwidth = 2 TB/s }
          link node { bandwidth = 300 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 4]
          data    over [dp] { shard = optimizer }
          experts over [dp]
        }
    """
    yield from _crowded(plan, 1.0, float("inf"))


@rule("P323", Severity.WARNING)
def memory_nearly_full(plan: Plan) -> Iterator[Finding]:
    """A device would be filled to more than 92%.

    The prediction leaves out what the allocator loses between blocks and what the runtime and the
    communication library take for themselves: a plan so near to the limit may well fail.

    ## Example

        cluster farm {
          levels = [node: 4]
          device { compute = 312 TFLOPS, memory = 19 GB, memory_bandwidth = 2 TB/s }
          link node { bandwidth = 300 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }

    ## Instead

        cluster farm {
          levels = [node: 4]
          device { compute = 312 TFLOPS, memory = 24 GB, memory_bandwidth = 2 TB/s }
          link node { bandwidth = 300 GB/s, latency = 3 us }
        }
        plan wide for first on farm {
          mesh = [dp: 4]
          data over [dp]
        }
    """
    yield from _crowded(plan, FULL, 1.0)


def _crowded(plan: Plan, above: float, most: float) -> Iterator[Finding]:
    """Where the fullest device is filled to more than `above` of its memory, and not more than `most`."""
    device = plan.cluster.device
    if not (device and device.memory):
        return
    from parc.cost.figure import format_quantity

    try:
        costs(plan).require_even()
        stages, missing = _held(costs(plan))
    except Unknown:
        return
    peak = max(stage.value for stage in stages)
    if not above < peak / device.memory <= most:
        return
    least = "at least " if missing else ""
    says = f"{least}{format_quantity(peak, 'B')} of {format_quantity(device.memory, 'B')}"
    fullest = [each.value for each in stages].index(peak)
    where = f" of {_unit(plan)} {fullest}" if len(stages) > 1 else ""
    cures = [] if plan.tried else _cures(plan, device.memory)
    yield Finding(
        f"a device{where} would need {says}: {peak / device.memory:.0%}",
        (
            Label(plan.at("mesh"), _shared(plan.mesh.size)),
            Label(device.at("memory"), "all that there is", primary=False),
        ),
        (*_table(costs(plan), stages, fullest), *missing, *(text for text, _ in cures[1:])),
        cures[0][0]
        if cures
        else "none of the layouts that were tried fits: more devices, or a smaller model",
        cures[0][1] if cures else None,
    )


def _shared(devices: int) -> str:
    return f"{devices:,} devices share the model" if devices > 1 else "one device has the whole model"


def _held(known: Costs) -> tuple[Sequence[Figure], tuple[str, ...]]:
    """What each rank of the pipeline holds at its fullest; where its schedule is not simulated, the states
    alone, and why."""
    try:
        return known.memory, ()
    except Unknown as reason:
        return known.states, (f"activations come on top, which are not known: {reason}",)


def _unit(plan: Plan) -> str:
    """What a rank of the pipeline holds: a stage, or several."""
    return "pipeline rank" if plan.pipeline and plan.pipeline.chunks > 1 else "stage"


def _table(known: Costs, stages: Sequence[Figure], fullest: int) -> Iterator[str]:
    """The kinds of the fullest device, then the peaks of all stages."""
    from parc.cost.figure import format_quantity

    for part in stages[fullest].parts:
        if part.value:
            yield f"{part.name} {format_quantity(part.value, part.unit)} ({part.grade}): {part.how}"
    if len(stages) > 1:
        peaks = [format_quantity(stage.value, "B") for stage in stages[:MOST_STAGES]]
        more = ", .." if len(stages) > MOST_STAGES else ""
        unit = _unit(known.plan)
        yield f"by {unit}: {', '.join(peaks)}{more}"
        try:
            flight = [str(known.in_flight(rank)) for rank in range(min(len(stages), MOST_STAGES))]
        except Unknown:
            return
        passes = "microbatches" if unit == "stage" else "passes of chunks"
        yield f"{passes} in flight by {unit}: {', '.join(flight)}{more}"


def _cures(plan: Plan, memory: float) -> list[tuple[str, Fix | None]]:
    """The layouts that fit, the fastest first: single changes, or else pairs of them."""
    fitting = _fitting(_single(plan), memory)
    if all(other.caveat(each.costs.plan, plan) for each in fitting):
        fitting += _fitting(_pairs(plan), memory)
    told = sorted(fitting, key=lambda each: bool(other.caveat(each.costs.plan, plan)))
    return [_told(each, memory, plan) for each in told[:MOST_CURES]]


def _single(plan: Plan) -> list[Alternative]:
    makers = (
        other.less_in_flight,
        other.lighter_stages,
        other.sharding,
        other.recomputing,
        other.sequence,
        other.more_microbatches,
    )
    return [each for make in makers for each in other.fewer(make, plan)]


def _pairs(plan: Plan) -> list[Alternative]:
    """A change of the state's layout or of the schedule, and one of what is kept on top of it."""
    found = []
    for first in (*other.fewer(other.sharding, plan), *other.less_in_flight(plan)):
        changed = first.costs.plan
        for make in (other.recomputing, other.more_microbatches):
            for second in other.fewer(make, changed):
                text = f"{first.text}` and `{second.text}"
                found.append(Alternative(text, second.costs, (*first.edits, *second.edits)))
    return found


def _fitting(found: list[Alternative], memory: float) -> list[Alternative]:
    fitting = [each for each in found if (peak := _peak(each.costs)) is not None and peak <= FULL * memory]
    return sorted(fitting, key=_order)


def _order(each: Alternative) -> tuple[bool, float]:
    """By seconds; sharded parameters last, as their time is not predicted well (docs/accuracy.md)."""
    data = each.costs.plan.data
    return data is not None and data.shard == "parameters", other.priced(each) or 0.0


def _peak(costs: Costs) -> float | None:
    try:
        return max(stage.value for stage in _held(costs)[0])
    except Unknown:
        return None


def _told(cure: Alternative, memory: float, plan: Plan) -> tuple[str, Fix | None]:
    from parc.cost.figure import format_quantity

    peak, seconds = _peak(cure.costs) or 0.0, other.priced(cure)
    step = f", {format_quantity(seconds, 's')} a step" if seconds else ""
    least = "at least " if _held(cure.costs)[1] else ""
    text = f"`{cure.text}` needs {least}{format_quantity(peak, 'B')}, {peak / memory:.0%}{step}"
    text += other.caveat(cure.costs.plan, plan)
    return text, Fix(f"write `{cure.text}`", cure.edits, safe=False) if cure.edits else None
