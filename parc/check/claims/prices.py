"""Claims about memory and time."""

from __future__ import annotations

from dataclasses import replace

from parc.check.costs import Costs, Unknown
from parc.cost.figure import Figure, format_quantity

STATES = ("parameters", "gradients", "optimizer")  # they need no schedule to be known


def memory(costs: Costs, kind: str, rank: int | None) -> Figure:
    """Of one pipeline rank, or of the one that has most."""
    ranks = range(costs.job.degrees.pipeline) if rank is None else [rank]
    return max((_of_stage(costs, kind, each) for each in ranks), key=lambda figure: figure.value)


def states(costs: Costs, rank: int | None) -> Figure:
    """Parameters, gradients and optimizer of one pipeline rank, or of the one that has most of them."""
    known = costs.states
    if rank is not None and rank >= len(known):
        raise Unknown(f"the pipeline's last stage is stage {len(known) - 1:,}")
    ranks = range(len(known)) if rank is None else [rank]
    most = max(ranks, key=lambda each: known[each].value)
    return replace(known[most], name=f"parameters, gradients and optimizer of stage {most}")


def step_time(costs: Costs) -> Figure:
    return costs.step_figure


def mfu(costs: Costs) -> Figure:
    return costs.mfu_figure


def tokens(costs: Costs) -> Figure:
    batch = costs.plan.train.batch
    return _rate(costs, "tokens", batch.sequences * batch.length, f"{batch.sequences:,} x {batch.length:,}")


def sequences(costs: Costs) -> Figure:
    batch = costs.plan.train.batch
    return _rate(costs, "sequences", batch.sequences, f"{batch.sequences:,}")


def _rate(costs: Costs, name: str, count: int, how: str) -> Figure:
    step = costs.step_figure
    return Figure(
        f"{name} per second",
        count / step.value,
        "",
        f"{how} / {format_quantity(step.value, 's')}",
        step.grade,
        (step,),
    )


def _of_stage(costs: Costs, kind: str, rank: int) -> Figure:
    peak = (costs.states if kind in STATES else costs.memory)[rank]
    stage = f"stage {rank}"
    if kind == "peak":
        return Figure(f"peak of {stage}", peak.value, "B", peak.how, peak.grade, peak.parts)
    for part in peak.parts:
        if part.name == kind:
            return Figure(f"{kind} of {stage}", part.value, "B", part.how, part.grade)
    return Figure(f"{kind} of {stage}", 0.0, "B", "none at its fullest moment", "estimated")
