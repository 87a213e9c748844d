"""The collectives of gradients and of sharded parameters: once a step, or for each microbatch."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Literal

from parc.cost.job.job import Job
from parc.cost.job.parallelism import FanOut, GroupName, TensorAxis
from parc.cost.memory.parameters import RankParameters
from parc.named_tuple import NamedTuple

OF_EMBEDDING = "parameters of the embedding"
"""The purpose of gathers that backward passes do not need."""


class GradientCollective(NamedTuple):
    """`calls` collectives of `bytes` each, as in `collective_times.py`, over a group with this fan-out.

    Those `in_passes` are issued in the passes of each microbatch, all others once a step, after the last.
    """

    purpose: str
    kind: Literal["all_reduce", "reduce_scatter", "all_gather"]
    group: GroupName
    fan_out: FanOut
    bytes: float
    calls: int = 1
    in_passes: bool = False


def derive_gradient_collectives(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Of one rank that holds these parameters."""
    derive = _derive_all_reduces if job.parallelism.shard == "none" else _derive_shared_update
    return derive(job, held)


def _derive_all_reduces(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Axis after axis, where the parallelism names them."""
    layout = job.parallelism
    if job.degrees.data > 1:
        for fan_out in layout.data_axis_fan_outs or (layout.groups.data,):
            bytes = _count_sent_bytes(job, held.non_experts, held.kept)
            yield GradientCollective("gradients of all but the experts", "all_reduce", "data", fan_out, bytes)
    if job.degrees.expert_data > 1:
        for fan_out in layout.expert_axis_fan_outs or (layout.groups.expert_data,):
            bytes = _count_sent_bytes(job, held.experts)
            yield GradientCollective("gradients of experts", "all_reduce", "expert_data", fan_out, bytes)
    yield from _derive_tensor_sums(job, held.replicated, held.kept, held.experts)


def _count_sent_bytes(job: Job, count: float, kept: float = 0.0) -> float:
    """Bytes of the gradients of so many parameters; `kept` of them are in 32 bits."""
    return (count - kept) * job.software.reduce_bytes + kept * job.software.widen().reduce_bytes


def _derive_tensor_sums(
    job: Job, replicated: float, kept: float, experts: float
) -> Iterator[GradientCollective]:
    """Where the sequence is split over `tensor`, its ranks have terms of gradients of what they repeat."""
    layout = job.parallelism
    if layout.sequence_parallel and job.degrees.tensor > 1:
        for fan_out, repeats in layout.tensor_axes or (TensorAxis(layout.groups.tensor, False),):
            bytes = _count_sent_bytes(job, replicated + (experts if repeats else 0), kept)
            yield GradientCollective("gradients of norms and routers", "all_reduce", "tensor", fan_out, bytes)


def _derive_shared_update(job: Job, held: RankParameters) -> Iterator[GradientCollective]:
    """Gradients are reduced to the ranks that update with them, parameters gathered from these.

    Each axis that the parallelism names divides what the ones outside it reduce and gather. With
    `shard = gradients` they are reduced in the backward pass of each microbatch. With `shard = parameters`
    parameters are gathered for each pass as well; programs of parc gather an embedding for forward passes
    alone. Replicas of shards add up what is left once a step.
    """
    layout, ranks = job.parallelism, job.shard_ranks
    data = layout.data_axis_fan_outs or (layout.groups.data,)
    copies = layout.expert_axis_fan_outs or (layout.groups.expert_data,)
    gathered = layout.shard == "parameters"
    reductions = layout.microbatches if layout.shard != "optimizer" else 0
    gathers = layout.microbatches * job.software.parameter_gathers if gathered else 0
    looked_up = held.embedding if gathered and job.software.emitted else 0.0
    if ranks.others > 1:
        what, others = "all but the experts", _Count(held.non_experts, held.kept)
        yield from _reduce(job, f"gradients of {what}", others, "data", data, reductions)
        called = _Count(held.non_experts - looked_up, held.kept)
        yield from _gather(job, f"parameters of {what}", called, "data", data, gathers)
        yield from _gather(job, OF_EMBEDDING, _Count(looked_up), "data", data, layout.microbatches)
    if ranks.experts > 1:
        experts = _Count(held.experts)
        yield from _reduce(job, "gradients of experts", experts, "expert_data", copies, reductions)
        yield from _gather(job, "parameters of experts", experts, "expert_data", copies, gathers)
    for fan_out in layout.replica_fan_outs:
        bytes = _count_sent_bytes(job, held.non_experts, held.kept) / ranks.others
        yield GradientCollective("gradients of all but the experts", "all_reduce", "data", fan_out, bytes)
    for fan_out in layout.expert_replica_fan_outs:
        bytes = _count_sent_bytes(job, held.experts) / ranks.experts
        yield GradientCollective("gradients of experts", "all_reduce", "expert_data", fan_out, bytes)
    replicated, kept = held.replicated / ranks.others, held.kept / ranks.others
    yield from _derive_tensor_sums(job, replicated, kept, held.experts / ranks.experts)


class _Count(NamedTuple):
    """Numbers of parameters: all, and those of them that are in 32 bits."""

    all: float
    kept: float = 0.0


def _reduce(
    job: Job, purpose: str, count: _Count, group: GroupName, axes: tuple[FanOut, ...], in_passes: int = 0
) -> Iterator[GradientCollective]:
    """Of these parameters; `in_passes` is how often the passes of a step reduce them, 0 for once after."""
    bytes = _count_sent_bytes(job, *count)
    yield from _derive_by_axis("reduce_scatter", purpose, bytes, group, axes, in_passes)


def _gather(
    job: Job, purpose: str, count: _Count, group: GroupName, axes: tuple[FanOut, ...], in_passes: int = 0
) -> Iterator[GradientCollective]:
    """As `_reduce`."""
    software = job.software
    bytes = (count.all - count.kept) * software.element_bytes + count.kept * software.widen().element_bytes
    yield from _derive_by_axis("all_gather", purpose, bytes, group, axes, in_passes)


def _derive_by_axis(
    kind: Literal["reduce_scatter", "all_gather"],
    purpose: str,
    bytes: float,
    group: GroupName,
    axes: tuple[FanOut, ...],
    in_passes: int,
) -> Iterator[GradientCollective]:
    """The innermost axis has all bytes, each further one a share."""
    for fan_out in axes[::-1] if bytes else ():
        yield GradientCollective(purpose, kind, group, fan_out, bytes, in_passes or 1, in_passes > 0)
        bytes /= prod(fan_out)
