"""Bytes that one rank gives to collectives and sends, of one step: by name, and a bound for what is small."""

from __future__ import annotations

from collections import Counter
from typing import Literal, NamedTuple

from parc.cost.job.job import Job, Stage
from parc.cost.memory import parameters
from parc.cost.network import gradient_collectives as gradients
from parc.cost.work import stage as layer
from parc.cost.work.part import AGAIN, entry

Group = Literal["tensor", "context", "experts", "expert_tensor", "data", "expert_data", "pipeline"]


class Moved(NamedTuple):
    """`bytes` of one call, as in `network.py`, and how many calls a step has.

    `routed`: the bytes are a mean over what routing decides.
    """

    what: str
    kind: str  # a collective, or "send"
    over: Group
    bytes: float
    calls: int
    routed: bool = False

    @property
    def total(self) -> float:
        return self.bytes * self.calls


def traffic(job: Job, index: int) -> tuple[Moved, ...]:
    """Of one rank in stage `index`, what it sends forward included and what it sends back."""
    stage, layout = job.stages[index], job.layout
    moved = [*_passes(job, stage), *_gradients(job, stage)]
    bytes = entry(job)
    for place, what in ((index + 1, "activations"), (index - 1, "their gradients")):
        if 0 <= place < len(job.stages) and job.rank_of(place) != job.rank_of(index):
            moved.append(Moved(what, "send", "pipeline", bytes, layout.microbatches))
    return tuple(moved)


def remainder(job: Job, index: int) -> float:
    """At most so many bytes besides, of a program that parc emits: what a step counts and reports.

    That are each expert's share in a balance loss and its load, and of a step labels, losses and norms.
    """
    stage, layout, element = job.stages[index], job.layout, job.practice.element
    axes = len(layout.data_axes) + 3  # and those of tensor, experts, pipeline
    experts = stage.sparse * job.architecture.experts * (layout.microbatches * element + COUNT)
    return axes * (experts + STEP) + layout.microbatches * element


COUNT = 4  # bytes of an expert's load
STEP = 80  # bytes a step and axis: labels and two losses of 8, squares of four kinds of gradient, and maxima


def _passes(job: Job, stage: Stage) -> list[Moved]:
    calls: Counter[Moved] = Counter()
    for count, one in layer.parts(job, stage):
        ahead, back = one.moves
        again = ahead if one.name in AGAIN[job.layout.recompute] else ()
        for label, moves in (("forward", ahead), ("backward", back), ("forward again", again)):
            for kind, bytes, over, routed, what in moves:
                name = f"{one.name}, {what + ', ' if what else ''}{label}"
                calls[Moved(name, kind, over, bytes, 1, routed)] += count * job.layout.microbatches
    return [each._replace(calls=number) for each, number in calls.items()]


def _gradients(job: Job, stage: Stage) -> list[Moved]:
    found = gradients.sums(job, parameters.held(job, stage))
    return [Moved(each.what, each.kind, each.over, each.bytes, each.calls) for each in found]
