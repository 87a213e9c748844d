"""Bytes that one rank gives to collectives and sends, of one step: every one of them by name."""

from __future__ import annotations

from typing import Literal, NamedTuple

from parc.cost import gradients, layer, parameters
from parc.cost.job import Job, Stage
from parc.cost.parts import AGAIN, entry

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
    for going, what in ((not stage.last, "activations"), (not stage.first, "their gradients")):
        if going:
            moved.append(Moved(what, "send", "pipeline", bytes, layout.microbatches))
    return tuple(moved)


def _passes(job: Job, stage: Stage) -> list[Moved]:
    moved = []
    for count, one in layer.parts(job, stage):
        calls = count * job.layout.microbatches
        ahead, back = one.moves
        again = ahead if one.name in AGAIN[job.layout.recompute] else ()
        for label, moves in (("forward", ahead), ("backward", back), ("forward again", again)):
            for move in moves:
                what = f"{one.name}, {label}"
                moved.append(Moved(what, move.kind, move.over, move.bytes, calls, move.routed))
    return moved


def _gradients(job: Job, stage: Stage) -> list[Moved]:
    found = gradients.sums(job, parameters.held(job, stage))
    return [Moved(each.what, each.kind, each.over, each.bytes, each.calls) for each in found]
