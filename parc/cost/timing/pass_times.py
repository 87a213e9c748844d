"""One microbatch through one stage, in seconds."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from parc.cost.job.job import Job, Stage
from parc.cost.job.machine import Link, Machine
from parc.cost.job.parallelism import Fans
from parc.cost.memory import parameters
from parc.cost.network import collective_times as network
from parc.cost.network.collective_times import Links
from parc.cost.timing.constants import Constants
from parc.cost.timing.roofline import gradient_seconds, matmul_seconds, traffic_seconds
from parc.cost.work import stage as layer
from parc.cost.work.part import AGAIN, Move, Part

LAUNCHES = {"attention": 0.4, "scores": 0.2, "ffn": 0.4, "experts": 1.4, "head": 0.4, "words": 0.0}
"""Host time of a part's forward or backward pass, in those of a dense layer: by the number of kernels."""

HOST = 1 / 3
"""Of a backward pass's host time, that of parameters' gradients: one of a linear's two matmuls, of kernels of
which a third is elementwise. Not fitted."""

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


def passes(job: Job, stage: Stage, links: Links, constants: Constants) -> tuple[Pass, Pass]:
    """Forward and backward pass of one microbatch through one stage."""
    forward, backward = NOTHING, NOTHING
    for count, part in layer.parts(job, stage):
        ahead, back = _both(job, part, links, constants)
        forward += ahead.times(count)
        backward += back.times(count)
        if part.name in AGAIN[job.layout.recompute]:
            backward += ahead.times(count)
    if job.layout.shard == "parameters":
        return _gathering(job, stage, forward, backward, links, constants.collective)
    return forward, backward


def halves(job: Job, stage: Stage, links: Links, constants: Constants) -> tuple[Pass, Pass]:
    """A backward pass in two: gradients of what came in with all that moves, and gradients of parameters.

    Nothing is computed again, no parameter is gathered: such plans are refused. Of the first stage PyTorch
    does both in the second half (`backward_weight_one_chunk` of torch.distributed.pipelining).
    """
    _, backward = passes(job, stage, links, constants)
    if stage.first:
        return NOTHING, backward
    compute = sum([count * _weights(job, part, constants) for count, part in layer.parts(job, stage)])
    weights = Pass(compute, 0.0, backward.host * HOST)
    return Pass(backward.compute - compute, backward.moves, backward.host - weights.host), weights


def _weights(job: Job, part: Part, constants: Constants) -> float:
    """Seconds of arithmetic for the gradients of a part's parameters: once for all stages of a job."""
    of, seconds = job.known.get((part.name, "weights"), (None, 0.0))
    if of is not constants:
        machine, does = job.hardware, job.practice
        mine = [each for each in part.matmuls if each.weight]
        both = sum([gradient_seconds(each, machine, constants, does) for each in mine])
        seconds = both - sum([matmul_seconds(each, machine, constants, does.element) for each in mine])
        job.known[part.name, "weights"] = constants, seconds
    return float(seconds)


def _both(job: Job, part: Part, links: Links, constants: Constants) -> tuple[Pass, Pass]:
    """Worked out once for all stages of a job."""
    of, ahead, back = job.known.get(part.name, (None, NOTHING, NOTHING))
    if of is not constants:
        ahead = _forward(job, part, links, constants)
        back = _backward(job, part, links, constants)
        job.known[part.name] = constants, ahead, back
    return ahead, back


def _forward(job: Job, part: Part, links: Links, constants: Constants) -> Pass:
    machine, element = job.hardware, job.practice.element
    compute = sum([matmul_seconds(each, machine, constants, element) for each in part.matmuls])
    compute += traffic_seconds(part.traffic, machine, constants)
    compute += part.fused / (machine.compute * constants.attention)
    moves = _moves(job, part.moves.forward, compute, links, constants)
    return Pass(compute, moves, constants.launch * LAUNCHES[part.name])


def _backward(job: Job, part: Part, links: Links, constants: Constants) -> Pass:
    """Each matmul has two in its gradient. Elsewhere a value is read and one written; backward, the value and
    the gradient of the other are read and one gradient is written: three for two."""
    machine = job.hardware
    compute = sum([gradient_seconds(each, machine, constants, job.practice) for each in part.matmuls])
    compute += 1.5 * traffic_seconds(part.traffic, machine, constants)
    compute += 2.5 * part.fused / (machine.compute * constants.attention)  # it computes the scores again
    moves = _moves(job, part.moves.backward, compute, links, constants)
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


def experts_layer(job: Job, constants: Constants) -> tuple[float, float]:
    """Seconds of the part with the experts alone, forward and backward."""
    links = effective(job.hardware, constants)
    part = layer.experts(job)
    return _forward(job, part, links, constants).seconds, _backward(job, part, links, constants).seconds


@lru_cache(maxsize=256)
def effective(machine: Machine, constants: Constants) -> Links:
    """The machine's links with the bandwidth that is reached."""
    inner, *outer = machine.links
    return (
        Link(inner.bandwidth * constants.inner, inner.latency),
        *(Link(link.bandwidth * constants.outer, link.latency) for link in outer),
    )


def _gathering(
    job: Job, stage: Stage, forward: Pass, backward: Pass, links: Links, start: float
) -> tuple[Pass, Pass]:
    """Sharded parameters are gathered layer by layer, each while the layer before computes. The first one has
    nothing to hide behind, nor has the last sum of gradients."""
    held, reach, does = parameters.held(job, stage), job.layout.reach, job.practice
    layers = max(1, stage.dense + stage.sparse)

    def each(element: int) -> float:
        """Seconds of one layer's parameters, or of their gradients."""
        shared = network.all_gather(held.shared / layers * element, reach.data, links)
        own = network.all_gather(held.experts / layers * element, reach.expert_data, links)
        return sum(seconds + start for seconds in (shared, own) if seconds)

    def slower(one: Pass, other: float) -> Pass:
        hidden = (one.compute + one.moves) / layers
        return Pass(one.compute, one.moves + other + (layers - 1) * max(0.0, other - hidden), one.host)

    gather, scatter = each(does.element), each(does.gradient)
    return slower(forward, gather), slower(backward, (does.gathers - 1) * gather + scatter)
