"""Claims about counts: devices, parameters, experts, FLOPs, the bubble."""

from __future__ import annotations

from math import prod

from parc.check.costs import Costs, Unknown
from parc.cost.explain import count_devices as ranks
from parc.cost.explain import explain_flops
from parc.cost.figure import Figure
from parc.cost.figure import format_microbatches as told
from parc.cost.job.architecture import Architecture
from parc.cost.job.job import StageShape
from parc.cost.memory import parameters
from parc.plan.schema.plan import SPLIT


def devices(costs: Costs) -> Figure:
    axes = costs.plan.mesh.axes
    product = " x ".join(f"{axis.size:,}" for axis in axes)
    how = product if len(axes) > 1 else f"all of `{axes[0].name}`" if axes else "no axis"
    return _count("devices", prod(axis.size for axis in axes), how)


def whole(costs: Costs) -> Figure:
    of = costs.job.architecture
    sparse = _sparse(of)
    dense, tables = of.layers - sparse, 1 if of.tied else 2
    parts = (
        _times("attention", of.layers, "layers", parameters.count_attention(of)),
        _routed(of, sparse),
        _times("dense FFN", dense, "layers", parameters.count_ffn(of, of.dense_ffn)),
        _times("shared experts", sparse, "layers", parameters.count_ffn(of, of.shared_ffn)),
        _times("routers", sparse, "layers", of.experts * of.hidden),
        _times("norms", 2 * of.layers + 1, "norms", of.hidden),
        _times("word tables", tables, "tables", of.vocab * of.hidden),
    )
    total = parameters.count_model(of)
    return Figure(
        "parameters", total, "", "all together", "exact", tuple(each for each in parts if each.value)
    )


def active(costs: Costs) -> Figure:
    of = costs.job.architecture
    experts = f"{of.top_k} of {of.experts} experts a layer, " if of.experts else ""
    how = f"{experts}neither embedding nor norms"
    return Figure("active parameters", parameters.count_active(of), "", how, "exact")


def of_experts(costs: Costs) -> Figure:
    of = costs.job.architecture
    return _routed(of, _sparse(of))


def held(costs: Costs, rank: int) -> Figure:
    """On one device of a pipeline rank."""
    stages = costs.job.list_stages(rank)
    own = _held_experts(costs, stages)
    shared = sum(parameters.count_rank_parameters(costs.job, stage).non_experts for stage in stages)
    rest = _count("all else", shared, f"attention, FFN and word tables / {costs.job.degrees.tensor}")
    how = f"on each device of stage {rank}"
    return Figure("parameters", own.value + shared, "", how, "exact", (own, rest))


def fullest(costs: Costs) -> Figure:
    return max((held(costs, rank) for rank in costs.unlike), key=lambda figure: figure.value)


def fullest_of_experts(costs: Costs) -> Figure:
    return max(
        (_held_experts(costs, costs.job.list_stages(rank)) for rank in costs.unlike),
        key=lambda figure: figure.value,
    )


def local(costs: Costs) -> Figure:
    costs.require_sound()
    experts = _experts(costs)
    plan = costs.plan
    ranks = plan.mesh.product(plan.experts.axes) if plan.experts else 1
    how = f"{experts} experts of a layer / {ranks} ranks"
    split = plan.mesh.product(plan.experts.tensor) if plan.experts else 1
    if split > 1:
        how += f"; each split over {split}"
    return Figure("experts of a layer on one device", experts / ranks, "", how, "exact")


def met(costs: Costs) -> Figure:
    costs.require_sound()
    experts, chosen = _experts(costs), costs.plan.train.model.shape.top_k
    if not chosen:
        raise Unknown(f"the shape of `{costs.plan.train.model.name}` does not say `top_k`")
    return Figure("active experts", chosen / experts, "", f"{chosen} of {experts} experts", "exact")


def flops(costs: Costs) -> Figure:
    one, devices = explain_flops(costs.job), ranks(costs.job)
    how = f"{devices:,} devices x {one.value:.4g} FLOP"
    return Figure("arithmetic", one.value * devices, one.unit, how, one.grade, (one,))


def flops_of_device(costs: Costs) -> Figure:
    return explain_flops(costs.job)


def bubble(costs: Costs) -> Figure:
    """Of the pipeline's whole time, all stages equal: Narayanan et al., arXiv:2104.04473, section 2.2.

    With fewer microbatches than ranks each chunk waits for the first of them to have come through all ranks.
    """
    costs.require_sound()
    pipeline, m = costs.plan.pipeline, costs.plan.train.batch.microbatches
    if pipeline is None:
        return Figure("bubble", 0.0, "", "there is no pipeline", "exact")
    p, v = costs.plan.mesh.product(pipeline.axes), pipeline.chunks
    if pipeline.schedule in SPLIT:
        return costs.attempt(lambda: _played(pipeline.schedule, p, v, m))
    all = v * max(m, p) + min(m, p) - 1
    wait = all - v * m
    if m >= p or v == 1:
        work = f"{v} chunks x {told(m)}" if v > 1 else told(m)
        how = f"({p} - 1) / ({work} + {p} - 1) = {wait}/{all}"
    else:
        how = f"1 - {v} chunks x {told(m)} / ({v} chunks x {p} ranks + {m} - 1) = {wait}/{all}"
    return Figure("bubble", wait / all, "", f"{how}, if all stages take the same time", "exact")


def _played(schedule: str, ranks: int, chunks: int, microbatches: int) -> Figure:
    """The bubble of a schedule that no formula tells: as it is played.

    Raises:
        ValueError: there are too many passes.
    """
    from parc.cost.schedule.timeline import assume_equal_times, simulate_pipeline

    stages = ranks * chunks
    times = assume_equal_times(stages)
    end = simulate_pipeline(schedule, microbatches, times, [0.0] * (stages - 1), chunks).seconds
    busy = microbatches * chunks * (times.forward[0] + times.backward[0])
    same = "if forward passes and halves of backward passes of all stages take the same time"
    how = f"{told(microbatches)} through `{schedule}`: {end - busy:g}/{end:g}, {same}"
    return Figure("bubble", 1 - busy / end, "", how, "estimated")


def _routed(of: Architecture, layers: int) -> Figure:
    how = f"{layers} layers x {of.experts} experts x {_ffn(of, of.ffn)}"
    return _count("experts", layers * of.experts * parameters.count_ffn(of, of.ffn), how)


def _held_experts(costs: Costs, stages: tuple[StageShape, ...]) -> Figure:
    of, by = costs.job.architecture, costs.job.degrees
    layers = sum(stage.moe_layers for stage in stages)
    how = f"{layers} layers x {of.experts} experts x {_ffn(of, of.ffn)}"
    how += f" / ({by.experts} ranks of experts x {by.expert_tensor} that split each)"
    return _count(
        "experts", sum(parameters.count_rank_parameters(costs.job, stage).experts for stage in stages), how
    )


def _ffn(of: Architecture, width: int) -> str:
    return f"{3 if of.gated else 2} x {of.hidden:,} x {width:,}"


def _count(name: str, value: float, how: str) -> Figure:
    return Figure(name, value, "", how, "exact")


def _times(name: str, count: int, things: str, each: int) -> Figure:
    return _count(name, count * each, f"{count} {things} x {each:,}")


def _sparse(of: Architecture) -> int:
    """Layers with experts."""
    return of.layers - of.dense_layers if of.experts else 0


def _experts(costs: Costs) -> int:
    experts = costs.plan.train.model.shape.experts
    if not experts:
        raise Unknown(f"the shape of `{costs.plan.train.model.name}` has no `experts`")
    return experts
