"""A resolved plan as a job: shape, mesh and cluster become sizes, fans and links."""

from __future__ import annotations

from itertools import pairwise
from math import prod

from parc.cost.job.architecture import Architecture
from parc.cost.job.job import Job
from parc.cost.job.machine import Link, Machine
from parc.cost.job.parallelism import ALONE, Fans, Layout, Reach
from parc.cost.job.software import Practice
from parc.plan.blocks import Plan, Shape

ELEMENT = {"bf16": 2, "fp32": 4, "fp64": 8}
HOP = 5e-6
"""Seconds of a link whose latency the plan does not say: between those of a node and of a fabric."""


def job(plan: Plan, load: float = 1.0) -> Job | None:
    """None where the shape says too little; without a machine, and so without times, where the cluster does.

    `load` is how many rows the fullest rank of experts has, over the mean.
    """
    architecture = _architecture(plan.train.model.shape, plan.train.batch.length)
    if architecture is None:
        return None
    return Job(architecture, _layout(plan, architecture.layers), _machine(plan), _practice(plan), load)


def _architecture(shape: Shape, length: int) -> Architecture | None:
    if not (shape.layers and shape.hidden and shape.heads and shape.ffn and shape.vocab):
        return None
    if shape.experts and not shape.top_k:
        return None
    return Architecture(
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads or shape.heads,
        head_dim=shape.head_dim or shape.hidden // shape.heads,
        ffn=shape.ffn,
        dense_ffn=shape.dense_ffn or shape.ffn,
        vocab=shape.vocab,
        length=length,
        gated=shape.gated,
        experts=shape.experts or 0,
        top_k=shape.top_k or 0,
        shared_ffn=shape.shared_ffn or 0,
        dense_layers=shape.dense_layers,
    )


def _machine(plan: Plan) -> Machine | None:
    cluster, device = plan.cluster, plan.cluster.device
    if not (device and device.compute and device.memory and device.memory_bandwidth):
        return None
    known = {link.level: link for link in cluster.links}
    links = []
    for level in reversed(cluster.levels):
        link = known.get(level.name)
        if level.size > 1 and (link is None or not link.bandwidth):
            return None
        bandwidth = link.bandwidth if link and link.bandwidth else float("inf")
        latency = link.latency if link and link.latency is not None else HOP
        links.append(Link(bandwidth, latency))
    peaks = {"fp32": device.compute_fp32, "fp64": device.compute_fp64}
    peak = peaks.get(plan.train.precision.compute)
    return Machine(
        compute=peak or device.compute,
        sixteen=device.compute if peak else None,
        memory=device.memory,
        memory_bandwidth=device.memory_bandwidth,
        links=tuple(links),
    )


def reach(plan: Plan) -> Reach:
    """The groups that one rank is in."""
    data = plan.data.axes if plan.data else ()
    experts = plan.experts.axes if plan.experts else ()
    held = (*experts, *(plan.experts.tensor if plan.experts else ()))
    return Reach(
        data=fans(plan, data),
        tensor=fans(plan, plan.tensor.axes if plan.tensor else ()),
        pipeline=fans(plan, plan.pipeline.axes) if plan.pipeline else ALONE,
        experts=fans(plan, experts),
        expert_tensor=fans(plan, plan.experts.tensor) if plan.experts else ALONE,
        expert_data=fans(plan, tuple(axis for axis in data if axis not in held)),
    )


def _layout(plan: Plan, layers: int) -> Layout:
    batch = plan.train.batch
    data = plan.data.axes if plan.data else ()
    tensor = plan.tensor.axes if plan.tensor else ()
    experts = plan.experts.axes if plan.experts else ()
    pipeline = plan.pipeline
    held = (*experts, *(plan.experts.tensor if plan.experts else ()))
    copies = tuple(axis for axis in data if axis not in held)
    sequence = plan.tensor.sequence if plan.tensor else False
    apart = (*data, *tensor) if sequence else data  # axes whose ranks hold other tokens between matmuls
    return Layout(
        reach=reach(plan),
        layers=pipeline.layers if pipeline else (layers,),
        chunks=pipeline.chunks if pipeline else 1,
        schedule=_schedule(plan),
        microbatches=batch.microbatches,
        sequences=batch.sequences / batch.microbatches / plan.mesh.product(data),
        sequence=sequence,
        travel=any(axis in apart for axis in experts),
        on_tensor=any(axis in tensor for axis in experts),
        tensor_first=_before(plan, tensor, experts),
        recompute=plan.recompute,
        shard=plan.data.shard if plan.data else "none",
        data_axes=tuple(fans(plan, (axis,)) for axis in data),
        expert_axes=tuple(fans(plan, (axis,)) for axis in copies),
    )


def _before(plan: Plan, some: tuple[str, ...], others: tuple[str, ...]) -> bool:
    """Whether all of `some` axes are outside `others` in the mesh."""
    place = plan.mesh.names.index
    return bool(some and others) and max(map(place, some)) < min(map(place, others))


def _schedule(plan: Plan) -> str:
    """Several chunks a rank under `1f1b` are the interleaved schedule."""
    pipeline = plan.pipeline
    if pipeline is None:
        return "1f1b"
    return "interleaved" if pipeline.schedule == "1f1b" and pipeline.chunks > 1 else pipeline.schedule


def fans(plan: Plan, axes: tuple[str, ...]) -> Fans:
    """Members of a group over `axes` within one unit of each level of the cluster, innermost first."""
    size = plan.mesh.product(axes)
    if size == 1:
        return ALONE
    levels = [level.size for level in plan.cluster.levels]
    touched = [
        *plan.mesh.count_units(axes, levels),
        size,
    ]  # units of each level, outermost first, then devices
    found = [min(inner / outer, size) for outer, inner in pairwise(touched)]
    found[0] *= size / prod(found)  # a group that is larger than the cluster
    return tuple(reversed(found))


def _practice(plan: Plan) -> Practice:
    """What an emitted program does: gradients summed once after the last microbatch, fused attention."""
    precision = plan.train.precision
    element, master = ELEMENT[precision.compute], ELEMENT[precision.master]
    moments = 2 * master
    copy = master if precision.compute != precision.master else 0
    return Practice(element=element, gradient=master, state=moments + copy, fused=False, emitted=True)
