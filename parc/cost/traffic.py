"""Bytes that one rank gives to collectives and sends, of one step: every one of them by name."""

from __future__ import annotations

from typing import Literal, NamedTuple

from parc.cost import layer, parameters
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
        again = one.forward if one.name in AGAIN[job.layout.recompute] else ()
        for label, moves in (("forward", one.forward), ("backward", one.backward), ("forward again", again)):
            for move in moves:
                routed = move.kind == "all_to_all" or (move.over == "expert_tensor" and job.layout.sequence)
                moved.append(Moved(f"{one.name}, {label}", move.kind, move.over, move.bytes, calls, routed))
    return moved


def _gradients(job: Job, stage: Stage) -> list[Moved]:
    held, does, by, shard = parameters.held(job, stage), job.practice, job.degrees, job.layout.shard
    groups: tuple[tuple[str, float, Group, int], ...] = (
        ("all but the experts", held.shared, "data", by.data),
        ("experts", held.experts, "expert_data", by.expert_data),
    )
    moved = []
    for what, count, over, size in groups:
        if size == 1 or not count:
            continue
        if shard == "none":
            moved.append(Moved(f"gradients of {what}", "all_reduce", over, count * does.gradient, 1))
            continue
        calls = job.layout.microbatches if shard == "parameters" else 1
        gathers = does.gathers * calls if shard == "parameters" else 1
        moved.append(Moved(f"gradients of {what}", "reduce_scatter", over, count * does.gradient, calls))
        moved.append(Moved(f"parameters of {what}", "all_gather", over, count * does.element, gathers))
    return moved
