"""Derives a training job from a resolved plan."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from math import prod

from parc.cost.job.architecture import Architecture, LatentAttention
from parc.cost.job.hardware import Hardware, LinkSpeed
from parc.cost.job.job import Job
from parc.cost.job.parallelism import SINGLE_RANK, FanOut, Parallelism, RankGroups, TensorAxis
from parc.cost.job.software import MOMENTS, Software
from parc.cost.memory.peak import predict_memory
from parc.plan.blocks import Plan, Shape
from parc.plan.placement import list_shard_axes, list_term_axes, list_travel_axes, name_schedule
from parc.record import replace

ELEMENT_BYTES = {"bf16": 2, "fp32": 4, "fp64": 8}
RANKS = 64  # of a pipeline, whose memory decides whether results of collectives are kept
DEFAULT_LATENCY = 5e-6
"""Seconds, for a link whose latency the plan does not give: between those of a node and of a fabric."""


def derive_job(plan: Plan, expert_imbalance: float = 1.0) -> Job | None:
    """The job that a plan describes; its hardware is None where the cluster does not say enough for times.

    `expert_imbalance` is the number of rows on the fullest rank of experts, over the mean.

    Returns:
        None where the shape of the model does not say enough.
    """
    architecture = _derive_architecture(plan.train.model.shape, plan.train.batch.length)
    if architecture is None:
        return None
    parallelism = _derive_parallelism(plan, architecture.layers)
    approximate = plan.train.approximate
    job = Job(
        architecture,
        parallelism,
        _derive_hardware(plan),
        _derive_software(plan),
        expert_imbalance,
        approximate.capacity if approximate else None,
    )
    kept = replace(job, software=replace(job.software, keeps_collectives=True))
    return job if plan.resends or not (plan.recompute == "none" or _fits(kept)) else kept


def decide_to_resend(plan: Plan) -> Plan:
    """The plan as it is built: recomputation keeps what collectives have yielded where a device can."""
    job = None if plan.recompute == "none" else derive_job(plan)
    return plan if job is None or job.software.keeps_collectives else replace(plan, resends=True)


def _fits(job: Job) -> bool:
    """Whether a device holds what the job needs, as far as is known."""
    if job.hardware is None:
        return True
    try:
        ranks = range(min(job.degrees.pipeline, RANKS))
        return all(predict_memory(job, rank).peak <= job.hardware.memory for rank in ranks)
    except ValueError:  # the schedule admits no such microbatches, which is reported by itself
        return True


def _derive_architecture(shape: Shape, length: int) -> Architecture | None:
    if not (shape.layers and shape.hidden and shape.heads and shape.ffn and shape.vocab):
        return None
    if shape.experts and not shape.top_k:
        return None
    attention, sparse = shape.attention_layers, shape.expert_layers
    return Architecture(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads or shape.heads,
        head_dim=shape.head_dim or shape.hidden // shape.heads,
        ffn=shape.ffn,
        dense_ffn=shape.ffn if shape.dense_ffn is None else shape.dense_ffn,
        vocab=shape.vocab,
        length=length,
        gated=shape.gated,
        experts=shape.experts or 0,
        top_k=shape.top_k or 0,
        shared_ffn=shape.shared_ffn or 0,
        dense_layers=shape.dense_layers,
        tied=shape.tied,
        latent=LatentAttention(*shape.latent) if shape.latent else None,
        scattered_layers=max(0, shape.layers - shape.dense_layers - sparse) if sparse is not None else 0,
        no_attention=shape.layers - attention if attention is not None else 0,
        other=shape.other or 0,
    )


def _derive_hardware(plan: Plan) -> Hardware | None:
    cluster, device = plan.cluster, plan.cluster.device
    if not (device and device.compute and device.usable and device.memory_bandwidth):
        return None
    known = {link.level: link for link in cluster.links}
    links = []
    for level in reversed(cluster.levels):
        link = known.get(level.name)
        if level.size > 1 and (link is None or not link.bandwidth):
            return None
        bandwidth = link.bandwidth if link and link.bandwidth else float("inf")
        latency = link.latency if link and link.latency is not None else DEFAULT_LATENCY
        links.append(LinkSpeed(bandwidth, latency))
    peaks = {"fp32": device.compute_fp32, "fp64": device.compute_fp64}
    peak = peaks.get(plan.train.precision.compute)
    return Hardware(
        peak_flops=peak or device.compute,
        peak_flops_16bit=device.compute if peak else None,
        memory=device.usable,
        memory_bandwidth=device.memory_bandwidth,
        links=tuple(links),
    )


def derive_groups(plan: Plan) -> RankGroups:
    """The fan-out of each group that one rank is in."""
    data = plan.list_axes("data")
    return RankGroups(
        data=derive_fan_out(plan, data),
        tensor=derive_fan_out(plan, plan.list_axes("tensor")),
        pipeline=derive_fan_out(plan, plan.pipeline.axes) if plan.pipeline else SINGLE_RANK,
        experts=derive_fan_out(plan, plan.list_axes("experts")),
        expert_tensor=derive_fan_out(plan, plan.experts.tensor) if plan.experts else SINGLE_RANK,
        expert_data=derive_fan_out(plan, _list_expert_data_axes(plan)),
        dispatch=derive_fan_out(plan, list_travel_axes(plan)),
        expert_terms=derive_fan_out(plan, _list_other_term_axes(plan)),
    )


def _list_other_term_axes(plan: Plan) -> tuple[str, ...]:
    """The axes beside those of `tensor` whose ranks have terms of the experts' results."""
    tensor = plan.list_axes("tensor")
    return tuple(axis for axis in list_term_axes(plan) if axis not in tensor)


def _list_expert_data_axes(plan: Plan) -> tuple[str, ...]:
    """The data axes whose ranks hold the same experts, outermost first."""
    data = plan.list_axes("data")
    split = (*plan.experts.axes, *plan.experts.tensor) if plan.experts else ()
    return tuple(axis for axis in plan.mesh.names if axis in data and axis not in split)


def _derive_parallelism(plan: Plan, layers: int) -> Parallelism:
    batch, pipeline = plan.train.batch, plan.pipeline
    data = tuple(axis for axis in plan.mesh.names if axis in plan.list_axes("data"))  # outermost first
    shard, copies = list_shard_axes(plan), _list_expert_data_axes(plan)
    replicas = [axis for axis in data if shard and axis not in shard]
    tensor = plan.list_axes("tensor")
    terms = [axis for axis in list_term_axes(plan) if plan.mesh.axis(axis).size > 1]
    used = (*plan.experts.axes, *plan.experts.tensor) if plan.experts else ()
    return Parallelism(
        groups=derive_groups(plan),
        layers=pipeline.layers if pipeline else (layers,),
        chunks=pipeline.chunks if pipeline else 1,
        schedule=name_schedule(plan.pipeline) if plan.pipeline else "1f1b",
        microbatches=batch.microbatches,
        sequences=batch.sequences / batch.microbatches / plan.mesh.product(data),
        sequence_parallel=plan.tensor.sequence if plan.tensor else False,
        dispatch_tokens=bool(list_travel_axes(plan)),
        terms_over_tensor=any(axis in tensor for axis in terms),
        tensor_outside_terms=_lies_outside(plan, tensor, _list_other_term_axes(plan)),
        recompute=plan.recompute,
        shard=plan.data.shard if plan.data else "none",
        data_axis_fan_outs=_derive_axis_fan_outs(plan, [axis for axis in data if axis not in replicas]),
        expert_axis_fan_outs=_derive_axis_fan_outs(plan, [axis for axis in copies if axis not in replicas]),
        replica_fan_outs=_derive_axis_fan_outs(plan, replicas),
        expert_replica_fan_outs=_derive_axis_fan_outs(plan, [axis for axis in copies if axis in replicas]),
        tensor_axes=tuple(
            TensorAxis(derive_fan_out(plan, (axis,)), axis not in used)
            for axis, size in plan.mesh.axes
            if axis in tensor and size > 1
        ),
    )


def _derive_axis_fan_outs(plan: Plan, axes: Iterable[str]) -> tuple[FanOut, ...]:
    """Of the groups over each of the axes that have several ranks."""
    return tuple(derive_fan_out(plan, (axis,)) for axis in axes if plan.mesh.axis(axis).size > 1)


def _lies_outside(plan: Plan, axes: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether the first of `axes` is before the first of `others` in the mesh."""
    place = plan.mesh.names.index
    return bool(axes and others) and min(map(place, axes)) < min(map(place, others))


def derive_fan_out(plan: Plan, axes: tuple[str, ...]) -> FanOut:
    """Members of a group over `axes` within one unit of each level of the cluster, innermost first."""
    size = plan.mesh.product(axes)
    if size == 1:
        return SINGLE_RANK
    levels = [level.size for level in plan.cluster.levels]
    touched = [
        *plan.mesh.count_units(axes, levels),
        size,
    ]  # units of each level, outermost first, then devices
    found = [min(inner / outer, size) for outer, inner in pairwise(touched)]
    found[0] *= size / prod(found)  # a group that is larger than the cluster
    return tuple(reversed(found))


def _derive_software(plan: Plan) -> Software:
    """What an emitted program does: it sums gradients once, after the last microbatch; attention is fused."""
    precision = plan.train.precision
    return Software(
        element_bytes=ELEMENT_BYTES[precision.compute],
        gradient_bytes=ELEMENT_BYTES[precision.gradients],
        reduce_bytes=ELEMENT_BYTES[precision.reduce],
        master_bytes=ELEMENT_BYTES[precision.master],
        moment_bytes=MOMENTS * ELEMENT_BYTES[precision.moments],
        fused_accumulation=False,
        kept=precision.keep_fp32,
        emitted=True,
    )
