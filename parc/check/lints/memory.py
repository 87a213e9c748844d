"""What a device must hold against what it can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from parc.check.costs import MEMORY_ERROR, Costs, Unknown
from parc.check.registry import Finding, lint
from parc.check.requests import Layouts
from parc.cost.figure import format_quantity
from parc.diagnostic import Label, Severity
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Device, Plan

if TYPE_CHECKING:
    from parc.cost.figure import Figure

FULL = (
    0.92  # of what tensors can have: the rest is for fragments, and more groups of the communication library
)
MOST_STAGES = 8  # whose memory is shown


@lint("P322")
def out_of_memory(costs: Costs) -> Iterator[Finding]:
    """A device needs more memory than it has, by more than the prediction may be off.

    What a device has is its `memory`, less what is `reserved` for the driver, CUDA and NCCL. Parameters,
    gradients and optimizer state are computed exactly. With `shard = parameters` a device keeps its share of
    the parameters in the type of `master` alone, and gathers a module at a time in that of `compute`.
    Activations are what layers keep from the forward to the backward pass, for every microbatch in flight.
    Early stages of a pipeline have more microbatches in flight; the last one has the logits. Between the two
    halves of a backward pass (`zero_bubble`, `zbv`, `dualpipev`), PyTorch keeps everything that the forward
    pass left, and gradients as well.

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
    fill = _measure_fill(costs)
    if fill and fill.least > 1:
        yield _describe_fill(costs, fill)


@lint("P323", Severity.WARNING)
def memory_nearly_full(costs: Costs) -> Iterator[Finding]:
    """A device needs more than 92% of its memory, or more than it has by no more than the prediction is off.

    The prediction does not include fragmentation, nor what the communication library takes beyond the
    `reserved` memory, so such a plan may fail. Predicted peaks are off by 2% (`docs/accuracy.md`).

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
    fill = _measure_fill(costs)
    if fill and fill.share > FULL and fill.least <= 1:
        yield _describe_fill(costs, fill)


class _Fill(NamedTuple):
    """How full the fullest device is, as shares of what tensors can have."""

    device: Device
    stages: Sequence[Figure]  # by rank of the pipeline
    missing: tuple[str, ...]  # why figures are left out
    share: float
    least: float  # the share, less what the prediction may be off


def _measure_fill(costs: Costs) -> _Fill | None:
    device = costs.plan.cluster.device
    if not (device and device.usable):
        return None
    costs.require_even()
    stages, missing = derive_held(costs)
    fullest = max(stages, key=lambda stage: stage.value)
    share = fullest.value / device.usable
    error = 0.0 if fullest.grade == "exact" else MEMORY_ERROR
    return _Fill(device, stages, missing, share, share * (1 - error))


def _describe_fill(costs: Costs, fill: _Fill) -> Finding:
    plan, device, stages = costs.plan, fill.device, fill.stages
    assert device.usable
    peaks = [stage.value for stage in stages]
    least = "at least " if fill.missing else ""
    fullest = peaks.index(max(peaks))
    where = f" of {_name_unit(plan)} {fullest}" if len(stages) > 1 else ""
    needed = f"{least}{format_quantity(max(peaks), 'B')} of {format_quantity(device.usable, 'B')}"
    devices = plan.mesh.size
    shared = f"{devices:,} devices share the model" if devices > 1 else "one device holds the whole model"
    labels = [Label(plan.at("mesh"), shared), Label(device.at("memory"), "available", primary=False)]
    if device.reserved:
        labels.append(Label(device.at("reserved"), "less what is reserved", primary=False))
    return Finding(
        f"a device{where} needs {needed}: {fill.share:.0%}",
        tuple(labels),
        (*_list_kinds(stages[fullest]), *_list_stages(costs, stages), *fill.missing),
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
