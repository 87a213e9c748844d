"""Claims about memory and time."""

from __future__ import annotations

from parc.check.costs import Costs
from parc.cost.figure import Figure, quantity

STATES = ("parameters", "gradients", "optimizer")  # they need no schedule to be known


def memory(costs: Costs, kind: str, rank: int | None) -> Figure:
    """Of one pipeline rank, or of the one that has most."""
    ranks = range(costs.job.degrees.pipeline) if rank is None else [rank]
    return max((_of_stage(costs, kind, each) for each in ranks), key=lambda figure: figure.value)


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
        f"{how} / {quantity(step.value, 's')}",
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
