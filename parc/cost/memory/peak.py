"""Bytes that one rank holds at its fullest, by kind.

Parameters, gradients and optimizer state are arithmetic. Activations are what `layer.py` says is kept, times
the microbatches that the schedule has in flight; fragmentation and the runtime's own memory are not counted.
"""

from __future__ import annotations

from math import prod

from parc.cost.job.job import Job, Stage, once
from parc.cost.memory import parameters
from parc.cost.schedule.in_flight import at_the_head, in_flight
from parc.cost.work import stage as layer
from parc.cost.work.attention import attention, scores
from parc.cost.work.part import AGAIN, Part, entry
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass


@dataclass(frozen=True, slots=True)
class Memory:
    parameters: float
    gradients: float
    optimizer: float
    activations: float  # kept between forward and backward passes, logits not counted
    logits: float  # of the microbatches that are at the head, and the gradient of one
    working: float  # of the pass that runs: what recomputation brings back, and gathered parameters

    @property
    def peak(self) -> float:
        state = self.parameters + self.gradients + self.optimizer
        return state + self.activations + max(self.logits, self.working)


@dataclass(frozen=True, slots=True)
class State:
    """What is held whatever the schedule: bytes."""

    parameters: float
    gradients: float
    optimizer: float


def state(job: Job, rank: int) -> State:
    """Of one rank of the pipeline."""
    layout, does = job.layout, job.practice
    held = [parameters.held(job, stage) for stage in job.stages_of(rank)]
    shared, own = sum(each.shared for each in held), sum(each.experts for each in held)
    sharded = shared / prod(layout.reach.data) + own / prod(layout.reach.expert_data)
    whole = shared + own
    return State(
        parameters=(sharded if layout.shard == "parameters" else whole) * does.element,
        gradients=(sharded if layout.shard == "parameters" else whole) * does.gradient,
        optimizer=(whole if layout.shard == "none" else sharded) * does.state,
    )


def memory(job: Job, rank: int) -> Memory:
    """Of one rank of the pipeline.

    Raises:
        ValueError: the schedule has no such chunks or microbatches.
    """
    layout, by, of = job.layout, job.degrees, state(job, rank)
    stages = job.stages_of(rank)
    kept = [_kept(job, stage) for stage in stages]
    if layout.schedule in SPLIT:
        kept += [_halved(job, stage) for stage in stages]
    moments = in_flight(layout.schedule, by.pipeline, layout.chunks, layout.microbatches, rank)
    fullest = max(
        sum(count * bytes for count, bytes in zip((*moment.kept, *moment.halved), kept, strict=False))
        for moment in moments
    )
    return Memory(
        parameters=of.parameters,
        gradients=of.gradients,
        optimizer=of.optimizer,
        activations=fullest,
        logits=_logits(job, rank) if any(stage.last for stage in stages) else 0.0,
        working=max(_working(job, stage) for stage in stages),
    )


def _kept(job: Job, stage: Stage) -> float:
    """Bytes of one microbatch between its forward and backward pass through a stage."""
    return sum(count * _of_layer(job, sparse)[0] for count, sparse in _kinds(stage))


def _halved(job: Job, stage: Stage) -> float:
    """Bytes that one microbatch has besides, between the halves of its backward pass through a stage.

    PyTorch then still keeps all that the forward pass has left, and the gradients of what each weight's
    matmul gave (`stage_backward_input` of torch.distributed.pipelining). Of the first stage it makes both
    halves at once.
    """
    if stage.first:
        return 0.0
    return sum(
        [
            count * job.practice.element * each.m * each.n * each.batch
            for count, part in layer.parts(job, stage)
            for each in part.matmuls
            if each.weight
        ]
    )


def heads(job: Job, rank: int) -> int:
    """Microbatches whose logits this rank holds at once, if it has the head."""
    layout = job.layout
    how = layout.schedule, job.degrees.pipeline, layout.chunks, layout.microbatches
    return at_the_head(*how, rank)


def _logits(job: Job, rank: int) -> float:
    of, one = job.architecture, layer.head(job).kept
    gradient = job.practice.element * job.tokens * of.vocab / job.degrees.tensor
    return heads(job, rank) * (one - gradient) + gradient


def _working(job: Job, stage: Stage) -> float:
    """Bytes of the largest layer while its backward pass runs."""
    largest = 0.0
    for _, sparse in _kinds(stage):
        again = _of_layer(job, sparse)[1]
        if job.layout.shard == "parameters":
            one = Stage(int(not sparse), int(sparse), False, False)
            again += parameters.held(job, one).all * (job.practice.element + job.practice.gradient)
        largest = max(largest, again)
    return largest


def _kinds(stage: Stage) -> list[tuple[int, bool]]:
    """How many layers of each kind: without experts, and with."""
    return [(count, sparse) for count, sparse in ((stage.dense, False), (stage.sparse, True)) if count]


def _of_layer(job: Job, sparse: bool) -> tuple[float, float]:
    """Bytes of one layer that are kept after its forward pass, and that its backward pass brings back."""
    return (_sparse if sparse else _dense)(job)


@once
def _sparse(job: Job) -> tuple[float, float]:
    return _layer(job, layer.experts(job))


@once
def _dense(job: Job) -> tuple[float, float]:
    return _layer(job, layer.dense(job))


def _layer(job: Job, last: Part) -> tuple[float, float]:
    parts = (attention(job), scores(job), last)
    again = [part for part in parts if part.name in AGAIN[job.layout.recompute]]
    back = sum(part.kept for part in again)
    kept = sum(part.kept for part in parts) - back
    if again and again[0].name != "scores":  # its inputs, which the part before does not keep either
        kept += entry(job)
    return kept, back
