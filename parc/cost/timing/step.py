"""The time of one training step: the passes of each stage in their schedule, then gradients and optimizer."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from parc.cost.job.job import Job, StageShape
from parc.cost.memory.parameters import RankParameters, count_rank_parameters
from parc.cost.network.collective_times import (
    PREDICTORS,
    Links,
    find_neighbour_link,
    predict_all_gather,
    predict_send,
)
from parc.cost.network.gradient_collectives import derive_gradient_collectives
from parc.cost.schedule.timeline import StageTimes, simulate_pipeline
from parc.cost.timing.constants import Constants
from parc.cost.timing.pass_times import (
    PassTime,
    derive_effective_links,
    predict_backward_halves,
    predict_passes,
)
from parc.cost.timing.roofline import predict_memory_traffic
from parc.cost.work.part import count_layer_input_bytes
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass


@dataclass(frozen=True, slots=True)
class StepTime:
    """Seconds of one step.

    `forward` and `backward` are of one microbatch, by stage. So are `halves`, of inputs and of weights, where
    the schedule splits backward passes. Times by rank are those of a pipeline rank after its last pass.
    """

    seconds: float
    forward: tuple[PassTime, ...]
    backward: tuple[PassTime, ...]
    halves: tuple[tuple[PassTime, ...], tuple[PassTime, ...]]
    hops: tuple[float, ...]  # from each stage to the next
    pipeline: float  # from the first pass to the last
    gradients: float  # of their collectives, as far as nothing hides them
    optimizer: float
    gradients_by_rank: tuple[float, ...]
    optimizer_by_rank: tuple[float, ...]

    @property
    def stage_times(self) -> StageTimes:
        """The times of passes, for a simulation of the pipeline."""
        return _list_seconds(self.forward, self.backward, *self.halves)


def predict_step(job: Job, constants: Constants) -> StepTime:
    """The time of one step.

    Raises:
        ValueError: the hardware or the schedule is unknown, or the schedule does not admit these chunks or
            microbatches.
    """
    links = derive_effective_links(job.require_hardware(), constants)
    forward, backward = _predict_by_stage(job, predict_passes, links, constants)
    split = job.parallelism.schedule in SPLIT
    halves = _predict_by_stage(job, predict_backward_halves, links, constants) if split else ((), ())
    hops, layout = _predict_hops(job, links), job.parallelism
    times = _list_seconds(forward, backward, *halves)
    line = simulate_pipeline(layout.schedule, layout.microbatches, times, hops, layout.chunks)
    visible, updates = [], []
    known: dict[tuple[StageShape, ...], tuple[float, float]] = {}  # ranks in the middle hold the same
    for rank in range(job.degrees.pipeline):
        stages = job.list_stages(rank)
        if stages not in known:
            known[stages] = _predict_update(job, stages, links, constants)
        gradients, update = known[stages]
        if job.software.overlap_gradients:  # the last backward passes hide all but the last bucket
            hidden = sum(backward[index].seconds for index in job.list_stage_indices(rank))
            gradients = max(gradients - hidden, gradients * 0.05)
        visible.append(gradients)
        updates.append(update)
    ready = max(end + gradients for end, gradients in zip(line.ends, visible, strict=True))
    optimizer = max(updates)
    return StepTime(
        seconds=ready + optimizer + constants.step,
        forward=forward,
        backward=backward,
        halves=halves,
        hops=hops,
        pipeline=line.seconds,
        gradients=ready - line.seconds,
        optimizer=optimizer,
        gradients_by_rank=tuple(visible),
        optimizer_by_rank=tuple(updates),
    )


def _list_seconds(*kinds: tuple[PassTime, ...]) -> StageTimes:
    return StageTimes(*([each.seconds for each in kind] for kind in kinds))


PassPair: TypeAlias = tuple[PassTime, PassTime]


def _predict_by_stage(
    job: Job,
    predict: Callable[[Job, StageShape, Links, Constants], PassPair],
    links: Links,
    constants: Constants,
) -> tuple[tuple[PassTime, ...], tuple[PassTime, ...]]:
    found = {stage: predict(job, stage, links, constants) for stage in set(job.stages)}
    return tuple(found[stage][0] for stage in job.stages), tuple(found[stage][1] for stage in job.stages)


def _predict_hops(job: Job, links: Links) -> tuple[float, ...]:
    """From each stage to the next: a rank sends its share of the tokens, unless it has the next stage too.

    With `scatter_sends` each rank of `tensor` sends a part of what all of them hold, and they gather the
    parts after the send: Narayanan et al., arXiv:2104.04473, section 4.1.
    """
    bytes, groups = count_layer_input_bytes(job), job.parallelism.groups
    gather = 0.0
    if job.software.scatter_sends and not job.parallelism.sequence_parallel:
        gather = predict_all_gather(bytes, groups.tensor, links)
        bytes /= job.degrees.tensor
    sends = [
        predict_send(bytes, find_neighbour_link(groups.pipeline, links, rank))
        for rank in range(job.degrees.pipeline)
    ]
    return tuple(
        sends[job.find_link(index)] + gather if job.find_rank(index) != job.find_rank(index + 1) else 0.0
        for index in range(len(job.stages) - 1)
    )


def _predict_update(
    job: Job, stages: tuple[StageShape, ...], links: Links, constants: Constants
) -> tuple[float, float]:
    """Collectives of the gradients that one rank holds, and its optimizer, after its last pass."""
    software, layout = job.software, job.parallelism
    by_stage = [count_rank_parameters(job, stage) for stage in stages]
    held = RankParameters(*map(sum, zip(*by_stage, strict=True)))
    seconds = 0.0
    for each in derive_gradient_collectives(job, held):
        if layout.shard != "parameters" or not each.in_passes:
            seconds += each.calls * PREDICTORS[each.kind](each.bytes, each.fan_out, links)
    others, experts = held.non_experts, held.experts
    if layout.shard != "none":
        others, experts = others / job.shard_ranks.others, experts / job.shard_ranks.experts
    moved = 2 * software.optimizer_bytes + software.gradient_bytes + software.element_bytes
    moved += software.conversion_bytes
    update = predict_memory_traffic((others + experts) * moved, job.require_hardware(), constants)
    return seconds, update
