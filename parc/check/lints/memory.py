"""What a device must hold against what it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from parc.check.costs import Costs, Unknown
from parc.check.registry import Finding, lint
from parc.check.requests import Layouts
from parc.cost.figure import format_quantity
from parc.diagnostic import Label, Severity
from parc.plan.blocks import Plan

if TYPE_CHECKING:
    from parc.cost.figure import Figure

FULL = 0.92  # of the memory: the rest is for fragments, and what the runtime itself takes
MOST_STAGES = 8  # whose memory is shown


@lint("P322")
def out_of_memory(costs: Costs) -> Iterator[Finding]:
    """A device needs more memory than it has.

    Parameters, gradients and optimizer state are computed exactly. Activations are what layers keep from the
    forward to the backward pass, for every microbatch in flight. Early stages of a pipeline have more
    microbatches in flight; the last one has the logits. Between the two halves of a backward pass
    (`zero_bubble`, `zbv`, `dualpipev`), PyTorch keeps everything that the forward pass left, and gradients
    as well.

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

        plan wide for first on farm {
          mesh = [dp: 4]
          data    over [dp] { shard = optimizer }
          experts over [dp]
        }
    """
    yield from _check_memory(costs, 1.0, float("inf"))


@lint("P323", Severity.WARNING)
def memory_nearly_full(costs: Costs) -> Iterator[Finding]:
    """A device needs more than 92% of its memory.

    The prediction does not include fragmentation, nor the memory of the runtime and of the communication
    library, so such a plan may fail.

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
    """
    yield from _check_memory(costs, FULL, 1.0)


def _check_memory(costs: Costs, above: float, most: float) -> Iterator[Finding]:
    """A finding where the fullest device is filled to more than `above` of its memory, and at most `most`."""
    plan = costs.plan
    device = plan.cluster.device
    if not (device and device.memory):
        return
    costs.require_even()
    stages, missing = derive_held(costs)
    peaks = [stage.value for stage in stages]
    share = max(peaks) / device.memory
    if not above < share <= most:
        return
    least = "at least " if missing else ""
    fullest = peaks.index(max(peaks))
    where = f" of {_name_unit(plan)} {fullest}" if len(stages) > 1 else ""
    needed = f"{least}{format_quantity(max(peaks), 'B')} of {format_quantity(device.memory, 'B')}"
    devices = plan.mesh.size
    shared = f"{devices:,} devices share the model" if devices > 1 else "one device holds the whole model"
    yield Finding(
        f"a device{where} needs {needed}: {share:.0%}",
        (Label(plan.at("mesh"), shared), Label(device.at("memory"), "available", primary=False)),
        (*_list_kinds(stages[fullest]), *_list_stages(costs, stages), *missing),
        advice=Layouts.FITTING,
    )


def derive_held(costs: Costs) -> tuple[Sequence[Figure], tuple[str, ...]]:
    """What each rank of the pipeline holds at its fullest; where its schedule is not simulated, the states
    alone, and why."""
    try:
        return costs.memory, ()
    except Unknown as reason:
        return costs.states, (f"activations are not included, because they are not known: {reason}",)


def _name_unit(plan: Plan) -> str:
    """What a rank of the pipeline holds: a stage, or several."""
    return "pipeline rank" if plan.pipeline and plan.pipeline.chunks > 1 else "stage"


def _list_kinds(peak: Figure) -> Iterator[str]:
    for part in peak.parts:
        if part.value:
            yield f"{part.name} {format_quantity(part.value, part.unit)} ({part.grade}): {part.how}"


def _list_stages(costs: Costs, stages: Sequence[Figure]) -> Iterator[str]:
    """The peaks of all stages, and how many microbatches each has in flight."""
    if len(stages) == 1:
        return
    unit, more = _name_unit(costs.plan), ", .." if len(stages) > MOST_STAGES else ""
    peaks = [format_quantity(stage.value, "B") for stage in stages[:MOST_STAGES]]
    yield f"by {unit}: {', '.join(peaks)}{more}"
    try:
        flight = [str(costs.count_in_flight(rank)) for rank in range(len(peaks))]
    except Unknown:
        return
    passes = "microbatches" if unit == "stage" else "passes of chunks"
    yield f"{passes} in flight by {unit}: {', '.join(flight)}{more}"
