"""One training step in seconds: passes of each stage, played through the schedule; gradients; optimizer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

from parc.cost import layer, network, parameters, schedule
from parc.cost.compute import matmul_seconds, traffic_seconds
from parc.cost.constants import Constants
from parc.cost.job import Fans, Job, Link, Machine, Stage
from parc.cost.layer import AGAIN, Move, Part
from parc.cost.network import Links

LAUNCHES = {"attention": 0.4, "scores": 0.2, "ffn": 0.4, "experts": 1.4, "head": 0.4}
"""Host time of a part's forward pass, in those of a dense layer: by the number of kernels."""


OVERLAP = 4
"""Of maximum, 8, 4 and 3, tried on fitted runs: 3 is as good, but with a ramp that lets matmuls of any size
reach their peak; the others are worse."""


class Pass(NamedTuple):
    """Seconds of one microbatch: of arithmetic, of collectives, and of the host that starts both."""

    compute: float
    moves: float
    host: float

    @property
    def seconds(self) -> float:
        """The longer of what the device does and what the host does, and more where they are near each other:
        some kernels then wait for the host, and the host waits for others."""
        device = self.compute + self.moves
        return float((device**OVERLAP + self.host**OVERLAP) ** (1 / OVERLAP))

    def __add__(self, other: tuple[float, ...]) -> Pass:  # type: ignore[override]
        compute, moves, host = other
        return Pass(self.compute + compute, self.moves + moves, self.host + host)

    def times(self, count: float) -> Pass:
        return Pass(count * self.compute, count * self.moves, count * self.host)


NOTHING = Pass(0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """Of one step, in seconds. `forward` and `backward` are of one microbatch, by stage."""

    seconds: float
    forward: tuple[Pass, ...]
    backward: tuple[Pass, ...]
    hops: tuple[float, ...]
    pipeline: float  # from the first pass to the last
    gradients: float  # what is seen of summing them
    optimizer: float


def experts_layer(job: Job, constants: Constants) -> tuple[float, float]:
    """Seconds of the part with the experts alone, forward and backward."""
    links = _effective(job.hardware, constants)
    part = layer.experts(job)
    return _forward(job, part, links, constants).seconds, _backward(job, part, links, constants).seconds


def predict(job: Job, constants: Constants) -> Step:
    """Raises:
    ValueError: the machine is not known, or the schedule not simulated, or not with these chunks and
    microbatches.
    """
    links = _effective(job.hardware, constants)
    passes = {stage: _passes(job, stage, links, constants) for stage in set(job.stages)}
    forward = tuple(passes[stage][0] for stage in job.stages)
    backward = tuple(passes[stage][1] for stage in job.stages)
    hops = _hops(job, links)
    layout = job.layout
    line = schedule.simulate(
        layout.schedule,
        layout.microbatches,
        [each.seconds for each in forward],
        [each.seconds for each in backward],
        hops,
        layout.chunks,
    )
    ranks = job.degrees.pipeline
    ready, optimizer = line.seconds, 0.0
    for rank, end in enumerate(line.ends):
        mine = job.stages[rank::ranks]
        sums, update = _update(job, mine, links, constants)
        if job.practice.overlap:  # the last microbatch's backward passes hide all but the last bucket
            sums = max(sums - sum(each.seconds for each in backward[rank::ranks]), sums * 0.05)
        ready, optimizer = max(ready, end + sums), max(optimizer, update)
    seconds = ready + optimizer + constants.step
    return Step(seconds, forward, backward, hops, line.seconds, ready - line.seconds, optimizer)


def _passes(job: Job, stage: Stage, links: Links, constants: Constants) -> tuple[Pass, Pass]:
    """Forward and backward pass of one microbatch through one stage."""
    forward, backward = NOTHING, NOTHING
    layers = stage.dense + stage.sparse
    for count, part in (
        (layers, layer.attention),
        (layers, layer.scores),
        (stage.dense, layer.dense),
        (stage.sparse, layer.experts),
    ):
        if count:
            one = part(job)
            ahead = _forward(job, one, links, constants)
            forward += ahead.times(count)
            backward += _backward(job, one, links, constants).times(count)
            if one.name in AGAIN[job.layout.recompute]:
                backward += ahead.times(count)
    if stage.last:
        one = layer.head(job)
        forward += _forward(job, one, links, constants)
        backward += _backward(job, one, links, constants)
    if job.layout.shard == "parameters":
        return _gathering(job, stage, forward, backward, links)
    return forward, backward


def _forward(job: Job, part: Part, links: Links, constants: Constants) -> Pass:
    machine, element = job.hardware, job.practice.element
    compute = sum([matmul_seconds(each, machine, constants, element) for each in part.matmuls])
    compute += traffic_seconds(part.traffic, machine, constants)
    compute += part.fused / (machine.compute * constants.attention)
    moves = _moves(job, part.forward, compute, links, constants)
    return Pass(compute, moves, constants.launch * LAUNCHES[part.name])


def _backward(job: Job, part: Part, links: Links, constants: Constants) -> Pass:
    """Each matmul has two in its gradient. Elsewhere a value is read and one written; backward, the value and
    the gradient of the other are read and one gradient is written: three for two."""
    machine, element = job.hardware, job.practice.element
    compute = 2 * sum([matmul_seconds(each, machine, constants, element) for each in part.matmuls])
    compute += 1.5 * traffic_seconds(part.traffic, machine, constants)
    compute += 2.5 * part.fused / (machine.compute * constants.attention)  # it computes the scores again
    moves = _moves(job, part.backward, compute, links, constants)
    return Pass(compute, moves, constants.launch * LAUNCHES[part.name])


def _moves(job: Job, moves: tuple[Move, ...], compute: float, links: Links, constants: Constants) -> float:
    """What is seen of a part's collectives: one piece of those that matmuls run beside, if these last."""
    seconds = [(move.over == "tensor", _seconds(job, move, links, constants)) for move in moves]
    tensor = sum([each for over, each in seconds if over])
    others = sum([each for over, each in seconds if not over])
    if tensor and job.practice.overlap_tensor:
        tensor = max(tensor / job.degrees.tensor, tensor - compute)
    return tensor + others


def _seconds(job: Job, move: Move, links: Links, constants: Constants) -> float:
    fans: Fans = getattr(job.layout.reach, move.over)
    take = network.all_gather if move.kind == "reduce_scatter" else getattr(network, move.kind)
    seconds: float = take(move.bytes, fans, links)
    return seconds + constants.collective if seconds else 0.0


@lru_cache(maxsize=256)
def _effective(machine: Machine, constants: Constants) -> Links:
    inner, *outer = machine.links
    return (
        Link(inner.bandwidth * constants.inner, inner.latency),
        *(Link(link.bandwidth * constants.outer, link.latency) for link in outer),
    )


def _hops(job: Job, links: Links) -> tuple[float, ...]:
    """From each stage to the next: a rank sends its share of the tokens."""
    bytes = layer.entry(job)
    ranks = job.degrees.pipeline
    if ranks == 1:
        return ()
    group = job.layout.reach.pipeline
    between = [network.send(bytes, network.neighbour(group, links, rank)) for rank in range(ranks)]
    return tuple(between[stage % ranks] for stage in range(len(job.layout.layers) - 1))


def _gathering(job: Job, stage: Stage, forward: Pass, backward: Pass, links: Links) -> tuple[Pass, Pass]:
    """Sharded parameters are gathered while the layer before computes: the slower of the two shows."""
    held, reach = parameters.held(job, stage), job.layout.reach
    gather = network.all_gather(held.shared * job.practice.element, reach.data, links)
    gather += network.all_gather(held.experts * job.practice.element, reach.expert_data, links)
    scatter = network.reduce_scatter(held.shared * job.practice.gradient, reach.data, links)
    scatter += network.reduce_scatter(held.experts * job.practice.gradient, reach.expert_data, links)
    back = (job.practice.gathers - 1) * gather + scatter

    def slower(one: Pass, other: float) -> Pass:
        return Pass(one.compute, max(one.moves, other - one.compute), one.host)

    return slower(forward, gather), slower(backward, back)


def _update(job: Job, stages: tuple[Stage, ...], links: Links, constants: Constants) -> tuple[float, float]:
    """Summing the gradients that one rank holds, and its optimizer, after the last pass."""
    does, layout = job.practice, job.layout
    held = [parameters.held(job, stage) for stage in stages]
    shared, own = sum(each.shared for each in held), sum(each.experts for each in held)
    sums = 0.0
    for count, fans in ((shared, layout.reach.data), (own, layout.reach.expert_data)):
        if layout.shard == "none":
            sums += network.all_reduce(count * does.gradient, fans, links)
        elif layout.shard == "optimizer":
            sums += network.reduce_scatter(count * does.gradient, fans, links)
            sums += network.all_gather(count * does.element, fans, links)
    if layout.shard != "none":
        shared, own = shared / prod(layout.reach.data), own / prod(layout.reach.expert_data)
    each = 2 * does.state + does.gradient + does.element  # state is read and written
    return sums, traffic_seconds((shared + own) * each, job.hardware, constants)
