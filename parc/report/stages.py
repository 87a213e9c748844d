"""The stages of the pipeline: layers, experts, parameters, memory and share of the FLOPs of each rank."""

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
    """One rank of the pipeline. Figures are those of one device; None if the shape is incomplete.

    `layers` has a range for each chunk. `share` is the part of the FLOPs of the model.
    """

    index: int
    layers: tuple[range, ...]
    moe_layers: int
    experts: int  # of each MoE layer, on one rank
    parameters: Figure | None = None
    share: Figure | None = None
    memory: Figure | None = None


def count_pipeline_ranks(plan: Plan) -> int:
    return plan.mesh.product(plan.list_axes("pipeline"))


def find_representative(plan: Plan, index: int) -> int:
    """The first rank of the mesh with this pipeline rank."""
    return plan.mesh.groups(plan.pipeline.axes)[0][index] if plan.pipeline else 0


def list_stages(plan: Plan, job: Job | None) -> tuple[StageRow, ...]:
    return tuple(_build_row(plan, job, index) for index in range(count_pipeline_ranks(plan)))


def _build_row(plan: Plan, job: Job | None, index: int) -> StageRow:
    shape, rank = plan.train.model.shape, find_representative(plan, index)
    layers = placement.locate_layers(plan, rank) if _has_all_layers(plan) else ()
    dense = shape.dense_layers if shape.experts else sum(map(len, layers))
    sparse = sum(len(chunk[max(dense - chunk.start, 0) :]) for chunk in layers) if shape.experts else 0
    experts = len(placement.locate_experts(plan, rank)) if sparse else 0
    if job is None:
        return StageRow(index, layers, sparse, experts)
    stages = job.list_stages(index)
    sparse = sum(stage.moe_layers for stage in stages)
    count = sum(parameters.count_rank_parameters(job, stage).total for stage in stages)
    how = "the share of one rank in matrices, norms and routers, and its experts"
    held = Figure("parameters", count, "", how, "exact")
    return StageRow(
        index, layers, sparse, experts, held, _compute_share(job, stages), _compute_memory(job, index)
    )


def _has_all_layers(plan: Plan) -> bool:
    """Whether all stages have their numbers of layers; in an editor, a plan may be incomplete."""
    pipeline = plan.pipeline
    return pipeline is None or len(pipeline.layers) == count_pipeline_ranks(plan) * pipeline.chunks


def _compute_memory(job: Job, index: int) -> Figure | None:
    try:
        return explain_memory(job, index)
    except ValueError:  # the schedule cannot be simulated, which `missing.py` reports
        return None


def _compute_share(job: Job, stages: tuple[StageShape, ...]) -> Figure:
    """FLOPs of the stages / FLOPs of the model."""
    mine, whole = sum(count_flops(job, stage) for stage in stages), parameters.count_flops(job)
    how = f"{mine:.4g} of {whole:.4g} FLOP, forward and backward"
    return Figure("share", mine / whole if whole else 0.0, "", how, "exact")


def count_flops(job: Job, stage: StageShape) -> float:
    """FLOPs of one step on all devices that run the stage: those of a model of its layers."""
    model = job.architecture
    part = replace(
        model,
        layers=stage.dense_layers + stage.moe_layers,
        dense_layers=stage.dense_layers,
        vocab=model.vocab if stage.has_head else 0,
    )
    return parameters.count_flops(replace(job, architecture=part))
