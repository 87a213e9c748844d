"""The time of one microbatch through one stage."""

from __future__ import annotations

from functools import lru_cache

from parc.cost.job.hardware import Hardware, LinkSpeed
from parc.cost.job.job import Job, StageShape
from parc.cost.job.parallelism import FanOut
from parc.cost.memory.parameters import count_rank_parameters
from parc.cost.network.collective_times import PREDICTORS, Links, predict_all_gather
from parc.cost.network.gradient_collectives import OF_EMBEDDING, derive_gradient_collectives
from parc.cost.timing.constants import Constants
from parc.cost.timing.roofline import predict_matmul, predict_matmul_gradient, predict_memory_traffic
from parc.cost.work.part import RECOMPUTED_PARTS, LayerCollective, Part
from parc.cost.work.stage import derive_experts, derive_parts
from parc.named_tuple import NamedTuple

LAUNCHES = {
    "attention": 0.4,
    "scores": 0.2,
    "ffn": 0.4,
    "experts": 1.4,
    "other": 0.2,
    "head": 0.4,
    "embedding": 0.0,
}
"""Host time of a part's forward or backward pass, over that of a dense layer: by the number of kernels."""

WEIGHT_HOST_SHARE = 1 / 3
"""The share of weights' gradients in the host time of a backward pass. They are one of a linear's matmuls,
and a third of all kernels is elementwise. The share is not fitted."""

OVERLAP_EXPONENT = 4
"""Maximum, 8, 4 and 3 were tried on fitted runs: 3 is as good, but with a ramp that lets matmuls of any size
reach their peak; the others are worse."""


class PassTime(NamedTuple):
    """Seconds of one microbatch: of arithmetic, of collectives, and of the host that launches both."""

    compute: float
    communication: float
    host: float

    @property
    def seconds(self) -> float:
        """The longer of device time and host time, and more where they are near each other.

        Some kernels then wait for the host, and the host waits for others.
        """
        device = self.compute + self.communication
        total = device**OVERLAP_EXPONENT + self.host**OVERLAP_EXPONENT
        return float(total ** (1 / OVERLAP_EXPONENT))

    def __add__(self, other: tuple[float, ...]) -> PassTime:  # type: ignore[override]
        compute, communication, host = other
        return PassTime(self.compute + compute, self.communication + communication, self.host + host)

    def scale(self, count: float) -> PassTime:
        """The time of `count` such passes, one after the other."""
        return PassTime(count * self.compute, count * self.communication, count * self.host)


NO_TIME = PassTime(0.0, 0.0, 0.0)


def predict_passes(
    job: Job, stage: StageShape, links: Links, constants: Constants
) -> tuple[PassTime, PassTime]:
    """The forward and the backward pass of one microbatch through one stage."""
    forward, backward = NO_TIME, NO_TIME
    for count, part in derive_parts(job, stage):
        ahead, back = _predict_part(job, part, links, constants)
        forward += ahead.scale(count)
        backward += back.scale(count)
        if part.name in RECOMPUTED_PARTS[job.parallelism.recompute]:
            again = ahead._replace(communication=0.0) if job.software.keeps_collectives else ahead
            backward += again.scale(count)
    if job.parallelism.shard == "parameters":
        add = _add_module_collectives if job.software.emitted else _add_hidden_gathers
        return add(job, stage, forward, backward, links, constants.collective)
    return forward, backward


def predict_backward_halves(
    job: Job, stage: StageShape, links: Links, constants: Constants
) -> tuple[PassTime, PassTime]:
    """The halves of a backward pass: gradients of inputs with all collectives, and gradients of weights.

    Nothing is recomputed and no parameter is gathered: plans that do so are refused. For the first stage
    PyTorch runs all in the second half (`backward_weight_one_chunk` of torch.distributed.pipelining).
    """
    _, backward = predict_passes(job, stage, links, constants)
    if stage.has_embedding:
        return NO_TIME, backward
    gradients = [
        count * _predict_weight_gradients(job, part, constants) for count, part in derive_parts(job, stage)
    ]
    weights = PassTime(sum(gradients), 0.0, backward.host * WEIGHT_HOST_SHARE)
    inputs = PassTime(
        backward.compute - weights.compute, backward.communication, backward.host - weights.host
    )
    return inputs, weights


def _predict_weight_gradients(job: Job, part: Part, constants: Constants) -> float:
    """Seconds of arithmetic for the gradients of a part's weights; cached for all stages of a job."""
    known, seconds = job.cache.get((part.name, "weights"), (None, 0.0))
    if known is not constants:
        hardware, software = job.require_hardware(), job.software
        mine = [each for each in part.matmuls if each.has_parameter]
        both = sum([predict_matmul_gradient(each, hardware, constants, software) for each in mine])
        inputs = sum([predict_matmul(each, hardware, constants, software.element_bytes) for each in mine])
        seconds = both - inputs
        job.cache[part.name, "weights"] = constants, seconds
    return float(seconds)


def _predict_part(job: Job, part: Part, links: Links, constants: Constants) -> tuple[PassTime, PassTime]:
    """Forward and backward pass of a part; cached for all stages of a job."""
    known, ahead, back = job.cache.get(part.name, (None, NO_TIME, NO_TIME))
    if known is not constants:
        ahead = _predict_forward(job, part, links, constants)
        back = _predict_backward(job, part, links, constants)
        job.cache[part.name] = constants, ahead, back
    return ahead, back


def _predict_forward(job: Job, part: Part, links: Links, constants: Constants) -> PassTime:
    hardware, element = job.require_hardware(), job.software.element_bytes
    compute = sum([predict_matmul(each, hardware, constants, element) for each in part.matmuls])
    compute += predict_memory_traffic(part.memory_traffic, hardware, constants)
    compute += part.attention_flops / (hardware.peak_flops * constants.attention)
    communication = _predict_collectives(job, part.collectives.forward, compute, links, constants)
    return PassTime(compute, communication, constants.launch * LAUNCHES[part.name])


def _predict_backward(job: Job, part: Part, links: Links, constants: Constants) -> PassTime:
    """Each matmul has two in its gradient, and fused attention computes its scores again.

    An elementwise operator reads one value and writes one in its forward pass. In its backward pass it reads
    the value and the gradient of its result, and writes a gradient: three for two.
    """
    hardware = job.require_hardware()
    compute = sum([predict_matmul_gradient(each, hardware, constants, job.software) for each in part.matmuls])
    compute += 1.5 * predict_memory_traffic(part.memory_traffic, hardware, constants)
    compute += 2.5 * part.attention_flops / (hardware.peak_flops * constants.attention)
    communication = _predict_collectives(job, part.collectives.backward, compute, links, constants)
    return PassTime(compute, communication, constants.launch * LAUNCHES[part.name])


def _predict_collectives(
    job: Job, collectives: tuple[LayerCollective, ...], compute: float, links: Links, constants: Constants
) -> float:
    """Seconds of a part's collectives that matmuls do not hide.

    Of those that matmuls overlap with, one piece is always visible, and whatever outlasts the matmuls.
    """
    seconds = [
        (each.group == "tensor", _predict_collective(job, each, links, constants)) for each in collectives
    ]
    tensor = sum([each for over_tensor, each in seconds if over_tensor])
    others = sum([each for over_tensor, each in seconds if not over_tensor])
    if tensor and job.software.overlap_tensor:
        tensor = max(tensor / job.degrees.tensor, tensor - compute)
    return tensor + others


def _predict_collective(job: Job, collective: LayerCollective, links: Links, constants: Constants) -> float:
    fan_out: FanOut = getattr(job.parallelism.groups, collective.group)
    seconds = PREDICTORS[collective.kind](collective.bytes, fan_out, links)
    return seconds + constants.collective if seconds else 0.0


def predict_expert_layer(job: Job, constants: Constants) -> tuple[float, float]:
    """Seconds of the experts of one layer alone, forward and backward."""
    links = derive_effective_links(job.require_hardware(), constants)
    part = derive_experts(job)
    forward = _predict_forward(job, part, links, constants)
    return forward.seconds, _predict_backward(job, part, links, constants).seconds


@lru_cache(maxsize=256)
def derive_effective_links(hardware: Hardware, constants: Constants) -> Links:
    """The links of the hardware, with the bandwidth that is reached."""
    inner, *outer = hardware.links
    return (
        LinkSpeed(inner.bandwidth * constants.inner, inner.latency),
        *(LinkSpeed(link.bandwidth * constants.outer, link.latency) for link in outer),
    )


def _add_module_collectives(
    job: Job, stage: StageShape, forward: PassTime, backward: PassTime, links: Links, start: float
) -> tuple[PassTime, PassTime]:
    """Passes that gather each module when it is entered, and reduce its gradients at the end: all in turn."""
    layers, before, after = stage.dense_layers + stage.moe_layers, 0.0, 0.0
    for each in derive_gradient_collectives(job, count_rank_parameters(job, stage)):
        seconds = PREDICTORS[each.kind](each.bytes, each.fan_out, links) if each.in_passes else 0.0
        if each.purpose == OF_EMBEDDING:
            modules = 1
        elif each.group == "expert_data":
            modules = stage.moe_layers
        else:  # the norm before the head is a module as well
            modules = layers + 2 * stage.has_head + (stage.has_embedding and each.kind == "reduce_scatter")
        seconds += modules * start if seconds else 0.0
        again = each.calls // job.parallelism.microbatches
        if each.kind == "all_gather":
            before, again = before + seconds, again - 1
        after += again * seconds
    return forward + PassTime(0.0, before, 0.0), backward + PassTime(0.0, after, 0.0)


def _add_hidden_gathers(
    job: Job, stage: StageShape, forward: PassTime, backward: PassTime, links: Links, start: float
) -> tuple[PassTime, PassTime]:
    """Passes that gather sharded parameters layer by layer, each while the layer before computes.

    The first gather overlaps with nothing, nor does the last reduce-scatter of gradients.
    """
    held, groups, software = count_rank_parameters(job, stage), job.parallelism.groups, job.software
    layers = max(1, stage.dense_layers + stage.moe_layers)

    def predict_layer(element_bytes: int) -> float:
        """Seconds of one layer's parameters, or of their gradients."""
        others = predict_all_gather(held.non_experts / layers * element_bytes, groups.data, links)
        experts = predict_all_gather(held.experts / layers * element_bytes, groups.expert_data, links)
        return sum(seconds + start for seconds in (others, experts) if seconds)

    def add(time: PassTime, collectives: float) -> PassTime:
        hidden = (time.compute + time.communication) / layers
        late = (layers - 1) * max(0.0, collectives - hidden)
        return PassTime(time.compute, time.communication + collectives + late, time.host)

    gather, scatter = predict_layer(software.element_bytes), predict_layer(software.reduce_bytes)
    return add(forward, gather), add(backward, (software.parameter_gathers - 1) * gather + scatter)
