"""What is sent for gradients and sharded parameters: once a step, or for each microbatch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from parc.cost.job.job import Job
from parc.cost.job.parallelism import Fans
from parc.cost.memory.parameters import Held

Over = Literal["data", "expert_data", "tensor"]


class Sum(NamedTuple):
    """`calls` collectives of `bytes` each, as in `network.py`, over a group with these fans."""

    what: str
    kind: Literal["all_reduce", "reduce_scatter", "all_gather"]
    over: Over
    fans: Fans
    bytes: float
    calls: int = 1


def sums(job: Job, held: Held) -> Iterator[Sum]:
    """Of one rank that holds these parameters."""
    if job.layout.shard == "none":
        yield from _whole(job, held)
    else:
        yield from _sharded(job, held)


def _whole(job: Job, held: Held) -> Iterator[Sum]:
    """Axis after axis where the layout names them. Where tokens lie along the sequence, ranks of `tensor`
    have terms of the gradients of what is whole on each of them."""
    layout, gradient = job.layout, job.practice.gradient
    data = layout.data_axes or (layout.reach.data,)
    copies = layout.expert_axes or (layout.reach.expert_data,) if job.degrees.expert_data > 1 else ()
    if job.degrees.data > 1:
        for fans in data:
            yield Sum("gradients of all but the experts", "all_reduce", "data", fans, held.shared * gradient)
    for fans in copies:
        yield Sum("gradients of experts", "all_reduce", "expert_data", fans, held.experts * gradient)
    if layout.sequence and job.degrees.tensor > 1:
        alone = held.experts if job.practice.emitted and _repeated(job) else 0
        what = (held.whole + alone) * gradient
        yield Sum("gradients of norms and routers", "all_reduce", "tensor", layout.reach.tensor, what)


def _repeated(job: Job) -> bool:
    """Whether all ranks of `tensor` hold the same experts."""
    return job.degrees.expert_tensor == 1 and not job.layout.on_tensor


def _sharded(job: Job, held: Held) -> Iterator[Sum]:
    """Gradients to the ranks that keep them, parameters from these."""
    does, layout, by = job.practice, job.layout, job.degrees
    calls = layout.microbatches if layout.shard == "parameters" else 1
    gathers = does.gathers * calls if layout.shard == "parameters" else 1
    groups: tuple[tuple[str, float, Over, int, Fans], ...] = (
        ("all but the experts", held.shared, "data", by.data, layout.reach.data),
        ("experts", held.experts, "expert_data", by.expert_data, layout.reach.expert_data),
    )
    for what, count, over, size, fans in groups:
        if size > 1 and count:
            gradients, parameters = count * does.gradient, count * does.element
            yield Sum(f"gradients of {what}", "reduce_scatter", over, fans, gradients, calls)
            yield Sum(f"parameters of {what}", "all_gather", over, fans, parameters, gathers)
