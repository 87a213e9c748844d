"""Claims about counts: devices, parameters, experts, FLOPs, the bubble."""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from parc.check.costs import Costs, Unknown, call_cost_model
from parc.cost.explain import count_devices as count_job_devices
from parc.cost.explain import explain_flops
from parc.cost.figure import Figure, format_microbatches
from parc.cost.job.architecture import Architecture
from parc.cost.job.job import StageShape
from parc.cost.memory import parameters
from parc.plan.schema.plan import SPLIT


def count_devices(costs: Costs) -> Figure:
    axes = costs.plan.mesh.axes
    product = " x ".join(f"{axis.size:,}" for axis in axes)
    how = product if len(axes) > 1 else f"all of `{axes[0].name}`" if axes else "no axis"
    return make_exact("devices", prod(axis.size for axis in axes), how)


def count_parameters(costs: Costs) -> Figure:
    of = costs.job.architecture
    sparse, tables = of.expert_layers, 1 if of.tied else 2
    parts = (
        _multiply("attention", of.layers - of.no_attention, "layers", parameters.count_attention(of)),
        _count_experts(of, sparse),
        _multiply("dense FFN", of.layers - sparse, "layers", parameters.count_ffn(of, of.dense_ffn)),
        _multiply("shared experts", sparse, "layers", parameters.count_ffn(of, of.shared_ffn)),
        _multiply("routers", sparse, "layers", of.experts * of.hidden),
        _multiply("norms", 2 * of.layers + 1, "norms", of.hidden),
        _multiply("embedding tables", tables, "tables", of.vocab * of.hidden),
        make_exact("all else", of.other, "`other` of the shape"),
    )
    shown = tuple(each for each in parts if each.value)
    return make_exact("parameters", parameters.count_model(of), "all together", *shown)


def count_active_parameters(costs: Costs) -> Figure:
    of = costs.job.architecture
    experts = f"{of.top_k} of {of.experts} experts a layer, " if of.experts else ""
    how = f"{experts}without embedding and norms"
    return make_exact("active parameters", parameters.count_active(of), how)


def count_expert_parameters(costs: Costs) -> Figure:
    of = costs.job.architecture
    return _count_experts(of, of.expert_layers)


def count_stage_parameters(costs: Costs, rank: int) -> Figure:
    """On one device of a pipeline rank."""
    stages = costs.job.list_stages(rank)
    experts = _count_held_experts(costs, stages)
    shared = sum(parameters.count_rank_parameters(costs.job, stage).non_experts for stage in stages)
    rest = make_exact("all else", shared, f"attention, FFN and embedding tables / {costs.job.degrees.tensor}")
    return make_exact("parameters", experts.value + shared, f"on each device of stage {rank}", experts, rest)


def count_device_parameters(costs: Costs) -> Figure:
    """On the fullest device."""
    return find_largest(count_stage_parameters(costs, rank) for rank in costs.unlike_ranks)


def count_device_expert_parameters(costs: Costs) -> Figure:
    """On the fullest device."""
    job = costs.job
    return find_largest(_count_held_experts(costs, job.list_stages(rank)) for rank in costs.unlike_ranks)


def count_local_experts(costs: Costs) -> Figure:
    """Of one layer on one device."""
    experts, mesh, strategy = _require_experts(costs), costs.plan.mesh, costs.plan.experts
    ranks, split = (mesh.product(strategy.axes), mesh.product(strategy.tensor)) if strategy else (1, 1)
    how = f"{experts} experts of a layer / {ranks} ranks"
    if split > 1:
        how += f"; each split over {split}"
    return make_exact("experts of a layer on one device", experts / ranks, how)


def derive_active_share(costs: Costs) -> Figure:
    """The share of the experts that a token goes to."""
    experts, chosen = _require_experts(costs), costs.plan.train.model.shape.top_k
    if not chosen:
        raise Unknown(f"the shape of `{costs.plan.train.model.name}` does not say `top_k`")
    return make_exact("active experts", chosen / experts, f"{chosen} of {experts} experts")


def count_flops(costs: Costs) -> Figure:
    one, number = explain_flops(costs.job), count_job_devices(costs.job)
    how = f"{number:,} devices x {one.value:.4g} FLOP"
    return Figure("arithmetic", one.value * number, one.unit, how, one.grade, (one,))


def derive_bubble(costs: Costs) -> Figure:
    """The share of the pipeline's time in which a device waits, if all stages take the same time.

    Narayanan et al., arXiv:2104.04473, section 2.2. With fewer microbatches than ranks, each chunk waits
    until the first of them has passed all ranks.
    """
    costs.require_sound()
    pipeline, m = costs.plan.pipeline, costs.plan.train.batch.microbatches
    if pipeline is None:
        return make_exact("bubble", 0.0, "there is no pipeline")
    p, v = costs.plan.mesh.product(pipeline.axes), pipeline.chunks
    if pipeline.schedule in SPLIT:
        return call_cost_model(lambda: _simulate_bubble(pipeline.schedule, p, v, m))
    whole = v * max(m, p) + min(m, p) - 1
    wait = whole - v * m
    if m >= p or v == 1:
        work = f"{v} chunks x {format_microbatches(m)}" if v > 1 else format_microbatches(m)
        how = f"({p} - 1) / ({work} + {p} - 1) = {wait}/{whole}"
    else:
        how = (
            f"1 - {v} chunks x {format_microbatches(m)} / ({v} chunks x {p} ranks + {m} - 1) = {wait}/{whole}"
        )
    return make_exact("bubble", wait / whole, f"{how}, if all stages take the same time")


def _simulate_bubble(schedule: str, ranks: int, chunks: int, count: int) -> Figure:
    """The bubble of a schedule for which there is no formula.

    Raises:
        ValueError: there are too many passes.
    """
    from parc.cost.schedule.timeline import assume_equal_times, simulate_pipeline  # noqa: PLC0415 - start-up time

    stages = ranks * chunks
    times = assume_equal_times(stages)
    end = simulate_pipeline(schedule, count, times, [0.0] * (stages - 1), chunks).seconds
    busy = count * chunks * (times.forward[0] + times.backward[0])
    same = "if forward passes and halves of backward passes of all stages take the same time"
    how = f"{format_microbatches(count)} through `{schedule}`: {end - busy:g}/{end:g}, {same}"
    return Figure("bubble", 1 - busy / end, "", how, "estimated")


def _count_experts(of: Architecture, layers: int) -> Figure:
    how = f"{layers} layers x {of.experts} experts x {_format_ffn(of)}"
    return make_exact("experts", layers * of.experts * parameters.count_ffn(of, of.ffn), how)


def _count_held_experts(costs: Costs, stages: tuple[StageShape, ...]) -> Figure:
    of, by = costs.job.architecture, costs.job.degrees
    layers = sum(stage.moe_layers for stage in stages)
    how = f"{layers} layers x {of.experts} experts x {_format_ffn(of)}"
    how += f" / ({by.experts} ranks of experts x {by.expert_tensor} that split each)"
    return make_exact(
        "experts", sum(parameters.count_rank_parameters(costs.job, stage).experts for stage in stages), how
    )


def _format_ffn(of: Architecture) -> str:
    return f"{3 if of.gated else 2} x {of.hidden:,} x {of.ffn:,}"


def make_exact(name: str, value: float, how: str, *parts: Figure) -> Figure:
    return Figure(name, value, "", how, "exact", parts)


def _multiply(name: str, count: int, things: str, each: int) -> Figure:
    return make_exact(name, count * each, f"{count} {things} x {each:,}")


def find_largest(figures: Iterable[Figure]) -> Figure:
    return max(figures, key=lambda figure: figure.value)


def _require_experts(costs: Costs) -> int:
    costs.require_sound()
    experts = costs.plan.train.model.shape.experts
    if not experts:
        raise Unknown(f"the shape of `{costs.plan.train.model.name}` has no `experts`")
    return experts
