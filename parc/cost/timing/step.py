"""One training step in seconds: passes of each stage, played through the schedule; gradients; optimizer."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

from parc.cost.job.job import Job, Stage
from parc.cost.memory import parameters
from parc.cost.network import collective_times as network
from parc.cost.network import gradient_collectives as gradients
from parc.cost.network.collective_times import Links
from parc.cost.schedule.timeline import Times, simulate
from parc.cost.timing.constants import Constants
from parc.cost.timing.pass_times import Pass, effective, halves, passes
from parc.cost.timing.roofline import traffic_seconds
from parc.cost.work.part import entry
from parc.plan.schema.plan import SPLIT
from parc.record import dataclass


@dataclass(frozen=True, slots=True)
class Step:
    """Of one step, in seconds.

    `forward` and `backward` are of one microbatch, by stage, and so are the halves of the latter where the
    schedule has any, of inputs and of parameters; `sums` and `updates` by rank of the pipeline: what is seen
    of summing its gradients after its last pass, and its optimizer.
    """

    seconds: float
    forward: tuple[Pass, ...]
    backward: tuple[Pass, ...]
    halves: tuple[tuple[Pass, ...], tuple[Pass, ...]]
    hops: tuple[float, ...]
    pipeline: float  # from the first pass to the last
    gradients: float  # what is seen of summing them
    optimizer: float
    sums: tuple[float, ...]
    updates: tuple[float, ...]

    @property
    def times(self) -> Times:
        return _times(self.forward, self.backward, *self.halves)


def predict(job: Job, constants: Constants) -> Step:
    """Raises:
    ValueError: the machine is not known, or the schedule not simulated, or not with these chunks and
    microbatches.
    """
    links = effective(job.hardware, constants)
    forward, backward = _by_stage(job, passes, links, constants)
    split = job.layout.schedule in SPLIT
    apart = _by_stage(job, halves, links, constants) if split else ((), ())
    hops, layout = _hops(job, links), job.layout
    times = _times(forward, backward, *apart)
    line = simulate(layout.schedule, layout.microbatches, times, hops, layout.chunks)
    ranks = job.degrees.pipeline
    seen, updates = [], []
    known: dict[tuple[Stage, ...], tuple[float, float]] = {}  # ranks in the middle hold the same
    for rank in range(ranks):
        mine = job.stages_of(rank)
        if mine not in known:
            known[mine] = _update(job, mine, links, constants)
        sums, update = known[mine]
        if job.practice.overlap:  # the last microbatch's backward passes hide all but the last bucket
            hidden = sum(backward[place].seconds for place in job.places(rank))
            sums = max(sums - hidden, sums * 0.05)
        seen.append(sums)
        updates.append(update)
    ready = max(end + sums for end, sums in zip(line.ends, seen, strict=True))
    optimizer = max(updates)
    seconds = ready + optimizer + constants.step
    return Step(
        seconds,
        forward,
        backward,
        apart,
        hops,
        line.seconds,
        ready - line.seconds,
        optimizer,
        tuple(seen),
        tuple(updates),
    )


def _times(*kinds: tuple[Pass, ...]) -> Times:
    return Times(*([each.seconds for each in kind] for kind in kinds))


Both: TypeAlias = tuple[Pass, Pass]


def _by_stage(
    job: Job, find: Callable[[Job, Stage, Links, Constants], Both], links: Links, constants: Constants
) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    found = {stage: find(job, stage, links, constants) for stage in set(job.stages)}
    return tuple(found[stage][0] for stage in job.stages), tuple(found[stage][1] for stage in job.stages)


def _hops(job: Job, links: Links) -> tuple[float, ...]:
    """From each stage to the next: a rank sends its share of the tokens, unless the next is its own too.

    With `scatter` it sends a part of what all ranks of `tensor` hold, and they gather the parts when they
    have come: Narayanan et al., arXiv:2104.04473, section 4.1.
    """
    bytes, group, ranks = entry(job), job.layout.reach.pipeline, job.degrees.pipeline
    gather = 0.0
    if job.practice.scatter and not job.layout.sequence:
        gather = network.all_gather(bytes, job.layout.reach.tensor, links)
        bytes /= job.degrees.tensor
    between = [network.send(bytes, network.neighbour(group, links, rank)) for rank in range(ranks)]
    return tuple(
        between[job.link(place)] + gather if job.rank_of(place) != job.rank_of(place + 1) else 0.0
        for place in range(len(job.stages) - 1)
    )


def _update(job: Job, stages: tuple[Stage, ...], links: Links, constants: Constants) -> tuple[float, float]:
    """Summing the gradients that one rank holds, and its optimizer, after the last pass."""
    does, layout = job.practice, job.layout
    held = parameters.Held(*map(sum, zip(*(parameters.held(job, stage) for stage in stages), strict=True)))
    seconds = 0.0
    for each in gradients.sums(job, held) if layout.shard != "parameters" else ():
        take = network.all_reduce if each.kind == "all_reduce" else network.all_gather
        seconds += take(each.bytes, each.fans, links)
    shared, own = held.shared, held.experts
    if layout.shard != "none":
        shared, own = shared / prod(layout.reach.data), own / prod(layout.reach.expert_data)
    moved = 2 * does.state + does.gradient + does.element  # state is read and written
    return seconds, traffic_seconds((shared + own) * moved, job.hardware, constants)
