"""The collectives of gradients and of sharded parameters: once a step, or for each microbatch."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Literal

from parc.cost.job.job import Job
from parc.cost.job.parallelism import FanOut, GroupName, TensorAxis
from parc.cost.memory.parameters import RankParameters
from parc.named_tuple import NamedTuple


class GradientCollective(NamedTuple):
    """`calls` collectives of `bytes` each, as in `collective_times.py`, over a group with this fan-out."""

    purpose: str
    kind: Literal["all_reduce", "reduce_scatter", "all_gather"]
    group: GroupName
    fan_out: FanOut
    bytes: float
    calls: int = 1


def derive_gradient_collectives(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Of one rank that holds these parameters."""
    kinds = {"none": _derive_all_reduces, "parameters": _derive_sharded}
    return kinds.get(job.parallelism.shard, _derive_shared_update)(job, held)


def _derive_all_reduces(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Axis after axis, where the parallelism names them."""
    layout, gradient = job.parallelism, job.software.reduce_bytes
    if job.degrees.data > 1:
        for fan_out in layout.data_axis_fan_outs or (layout.groups.data,):
            bytes = held.non_experts * gradient
            yield GradientCollective("gradients of all but the experts", "all_reduce", "data", fan_out, bytes)
    if job.degrees.expert_data > 1:
        for fan_out in layout.expert_axis_fan_outs or (layout.groups.expert_data,):
            bytes = held.experts * gradient
            yield GradientCollective("gradients of experts", "all_reduce", "expert_data", fan_out, bytes)
    yield from _derive_tensor_sums(job, held.replicated, held.experts)


def _derive_tensor_sums(job: Job, replicated: float, experts: float) -> Iterator[GradientCollective]:
    """Where the sequence is split over `tensor`, its ranks have terms of gradients of what they repeat."""
    layout = job.parallelism
    if layout.sequence_parallel and job.degrees.tensor > 1:
        for fan_out, repeats in layout.tensor_axes or (TensorAxis(layout.groups.tensor, False),):
            bytes = (replicated + (experts if repeats else 0)) * job.software.reduce_bytes
            yield GradientCollective("gradients of norms and routers", "all_reduce", "tensor", fan_out, bytes)


def _derive_shared_update(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Gradients are reduced to the ranks that update with them, parameters gathered from these.

    Each axis that the parallelism names divides what the ones outside it reduce and gather. With
    `shard = gradients` those of layers are reduced in the backward pass of each microbatch.
    """
    layout, degrees = job.parallelism, job.degrees
    data = layout.data_axis_fan_outs or (layout.groups.data,)
    copies = layout.expert_axis_fan_outs or (layout.groups.expert_data,)
    by_layer = layout.shard == "gradients"
    calls = layout.microbatches if by_layer else 1
    outside = held.outside_layers if by_layer else 0.0
    if degrees.data > 1:
        inside = held.non_experts - outside
        yield from _reduce(job, "all but the experts", inside, "data", data, calls)
        yield from _reduce(job, "embedding and head", outside, "data", data, 1)
        yield from _gather(job, "all but the experts", held.non_experts, "data", data)
    if degrees.expert_data > 1:
        yield from _reduce(job, "experts", held.experts, "expert_data", copies, calls)
        yield from _gather(job, "experts", held.experts, "expert_data", copies)
    yield from _derive_tensor_sums(job, held.replicated / degrees.data, held.experts / degrees.expert_data)


def _reduce(
    job: Job, what: str, count: float, group: GroupName, axes: tuple[FanOut, ...], calls: int
) -> Iterator[GradientCollective]:
    for fan_out in axes[::-1] if count else ():
        bytes = count * job.software.reduce_bytes
        yield GradientCollective(f"gradients of {what}", "reduce_scatter", group, fan_out, bytes, calls)
        count /= prod(fan_out)


def _gather(
    job: Job, what: str, count: float, group: GroupName, axes: tuple[FanOut, ...]
) -> Iterator[GradientCollective]:
    for fan_out in axes[::-1] if count else ():
        bytes = count * job.software.element_bytes
        yield GradientCollective(f"parameters of {what}", "all_gather", group, fan_out, bytes)
        count /= prod(fan_out)


def _derive_sharded(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Gradients are reduced to the ranks that keep them, parameters gathered from these: each microbatch."""
    software, layout, degrees = job.software, job.parallelism, job.degrees
    calls = layout.microbatches
    gathers = software.parameter_gathers * calls
    groups: tuple[tuple[str, float, GroupName, int, FanOut], ...] = (
        ("all but the experts", held.non_experts, "data", degrees.data, layout.groups.data),
        ("experts", held.experts, "expert_data", degrees.expert_data, layout.groups.expert_data),
    )
    for what, count, group, size, fan_out in groups:
        if size > 1 and count:
            gradients, parameters = count * software.reduce_bytes, count * software.element_bytes
            yield GradientCollective(
                f"gradients of {what}", "reduce_scatter", group, fan_out, gradients, calls
            )
            yield GradientCollective(
                f"parameters of {what}", "all_gather", group, fan_out, parameters, gathers
            )
