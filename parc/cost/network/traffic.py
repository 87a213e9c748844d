"""The buffers of all collectives and sends of one rank in a step, by purpose."""

from __future__ import annotations

from collections import Counter

from parc.cost.job.job import Job, StageShape
from parc.cost.job.parallelism import FanOut, GroupName
from parc.cost.memory.parameters import count_rank_parameters
from parc.cost.network.gradient_collectives import derive_gradient_collectives
from parc.cost.work.expert_collectives import ROUTING
from parc.cost.work.part import RECOMPUTED_PARTS, count_layer_input_bytes
from parc.cost.work.stage import derive_parts
from parc.named_tuple import NamedTuple

ACTIVATIONS, ACTIVATION_GRADIENTS = "activations", "gradients of activations"
LOAD_BYTES = 4  # of the load of one expert
STEP_BYTES = 80  # a step and axis: labels and two losses of 8, squares of four kinds of gradient, and maxima


class Transfer(NamedTuple):
    """`bytes` are of one call, as in `collective_times.py`; a step has `calls` of them."""

    purpose: str
    kind: str  # a collective, or "send"
    group: GroupName
    bytes: float
    calls: int
    routed: bool = False  # whether the bytes are a mean over what routing decides
    fan_out: FanOut | None = None  # of the ranks that communicate, where they are a part of the group

    @property
    def total(self) -> float:
        """Bytes of all calls of a step."""
        return self.bytes * self.calls


def derive_traffic(job: Job, stage: int) -> tuple[Transfer, ...]:
    """Of one rank in a stage, what it sends to the next and to the previous stage included."""
    shape, layout = job.stages[stage], job.parallelism
    transfers = [*_derive_pass_transfers(job, shape), *_derive_gradient_transfers(job, shape)]
    bytes = count_layer_input_bytes(job)
    for other, purpose in ((stage + 1, ACTIVATIONS), (stage - 1, ACTIVATION_GRADIENTS)):
        if 0 <= other < len(job.stages) and job.find_rank(other) != job.find_rank(stage):
            transfers.append(Transfer(purpose, "send", "pipeline", bytes, layout.microbatches))
    return tuple(transfers)


def bound_other_bytes(job: Job, stage: int) -> float:
    """An upper bound of all other bytes of a program that parc emits: those of its metrics.

    They are the share and the load of each expert, and once a step labels, losses and norms.
    """
    shape, layout, element = job.stages[stage], job.parallelism, job.software.element_bytes
    data = len(layout.data_axis_fan_outs) + len(layout.replica_fan_outs)
    axes = data + 3  # and those of tensor, experts, pipeline
    experts = shape.moe_layers * job.architecture.experts * (layout.microbatches * element + LOAD_BYTES)
    return axes * (experts + STEP_BYTES) + layout.microbatches * element


def _derive_pass_transfers(job: Job, stage: StageShape) -> list[Transfer]:
    calls: Counter[Transfer] = Counter()
    keeps = job.software.keeps_collectives
    for count, part in derive_parts(job, stage):
        forward, backward = part.collectives
        repeats = part.name in RECOMPUTED_PARTS[job.parallelism.recompute]
        again = [each for each in forward if each.payload not in ROUTING] if repeats and not keeps else []
        for label, collectives in (("forward", forward), ("backward", backward), ("recomputed", again)):
            for kind, bytes, group, routed, payload in collectives:
                purpose = f"{part.name}, {payload + ', ' if payload else ''}{label}"
                transfer = Transfer(purpose, kind, group, bytes, 1, routed)
                calls[transfer] += count * job.parallelism.microbatches
    return [transfer._replace(calls=number) for transfer, number in calls.items()]


def _derive_gradient_transfers(job: Job, stage: StageShape) -> list[Transfer]:
    collectives = derive_gradient_collectives(job, count_rank_parameters(job, stage))
    partial = bool(job.parallelism.replica_fan_outs)
    return [
        Transfer(
            one.purpose, one.kind, one.group, one.bytes, one.calls, fan_out=one.fan_out if partial else None
        )
        for one in collectives
    ]
