"""What each rank of the pipeline holds: layers, experts, parameters, memory, its share of the arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace

from parc.cost.explain import explain_memory
from parc.cost.figure import Figure
from parc.cost.job.job import Job, StageShape
from parc.cost.memory import parameters
from parc.plan import placement
from parc.plan.blocks import Plan


@dataclass(frozen=True, slots=True)
class StageRow:
    """One rank of the pipeline. Figures are of one device; None where the shape says too little.

    `layers` has a range for each of its chunks. `share` is its part of the model's FLOPs.
    """

    index: int
    layers: tuple[range, ...]
    moe_layers: int
    experts: int  # of each of these layers, on one rank
    parameters: Figure | None = None
    share: Figure | None = None
    memory: Figure | None = None


def pipeline_ranks(plan: Plan) -> int:
    return plan.mesh.product(plan.pipeline.axes) if plan.pipeline else 1


def representative(plan: Plan, index: int) -> int:
    """The first rank of the mesh with this index on the pipeline."""
    return plan.mesh.groups(plan.pipeline.axes)[0][index] if plan.pipeline else 0


def stage_rows(plan: Plan, job: Job | None) -> tuple[StageRow, ...]:
    return tuple(_row(plan, job, index) for index in range(pipeline_ranks(plan)))


def _row(plan: Plan, job: Job | None, index: int) -> StageRow:
    shape, rank = plan.train.model.shape, representative(plan, index)
    layers = placement.locate_layers(plan, rank) if _counted(plan) else ()
    dense = shape.dense_layers if shape.experts else sum(map(len, layers))
    sparse = sum(layer >= dense for chunk in layers for layer in chunk) if shape.experts else 0
    experts = len(placement.locate_experts(plan, rank)) if sparse else 0
    if job is None:
        return StageRow(index, layers, sparse, experts)
    stages = job.list_stages(index)
    count = sum(parameters.count_rank_parameters(job, stage).total for stage in stages)
    how = "what one rank holds of the matrices, norms, routers, and its experts"
    held = Figure("parameters", count, "", how, "exact")
    return StageRow(index, layers, sparse, experts, held, _share(job, stages), _memory(job, index))


def _counted(plan: Plan) -> bool:
    """Whether every stage has its number of layers: an editor shows a plan before it is whole."""
    pipeline = plan.pipeline
    return pipeline is None or len(pipeline.layers) == pipeline_ranks(plan) * pipeline.chunks


def _memory(job: Job, index: int) -> Figure | None:
    try:
        return explain_memory(job, index)
    except ValueError:  # a schedule that is not simulated: `missing.py` tells it
        return None


def _share(job: Job, stages: tuple[StageShape, ...]) -> Figure:
    """FLOPs of stages over those of the model: of a model that has these layers alone."""
    mine, whole = sum(flops(job, stage) for stage in stages), parameters.count_flops(job)
    how = f"{mine:.4g} of {whole:.4g} FLOP, forward and backward"
    return Figure("share", mine / whole if whole else 0.0, "", how, "exact")


def flops(job: Job, stage: StageShape) -> float:
    """Of one step, on all devices that run the stage."""
    of = job.architecture
    part = replace(
        of,
        layers=stage.dense_layers + stage.moe_layers,
        dense_layers=stage.dense_layers,
        vocab=of.vocab if stage.has_head else 0,
    )
    return parameters.count_flops(replace(job, architecture=part))
