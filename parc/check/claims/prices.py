"""Claims about memory and time."""

from __future__ import annotations

from parc.check.costs import Costs, Unknown
from parc.cost.figure import Figure, format_quantity
from parc.record import replace

STATES = ("parameters", "gradients", "optimizer")  # they need no schedule to be known


def derive_memory(costs: Costs, kind: str, rank: int | None) -> Figure:
    """Of one pipeline rank, or of the one that has most."""
    ranks = range(costs.job.degrees.pipeline) if rank is None else [rank]
    return max((_derive_stage_memory(costs, kind, each) for each in ranks), key=lambda figure: figure.value)


def derive_states(costs: Costs, rank: int | None) -> Figure:
    """Parameters, gradients and optimizer of one pipeline rank, or of the one that has most of them."""
    states = costs.states
    if rank is not None and rank >= len(states):
        raise Unknown(f"the pipeline's last stage is stage {len(states) - 1:,}")
    ranks = range(len(states)) if rank is None else [rank]
    most = max(ranks, key=lambda each: states[each].value)
    return replace(states[most], name=f"parameters, gradients and optimizer of stage {most}")


def derive_token_rate(costs: Costs) -> Figure:
    batch = costs.plan.train.batch
    how = f"{batch.sequences:,} x {batch.length:,}"
    return _derive_rate(costs, "tokens", batch.sequences * batch.length, how)


def derive_sequence_rate(costs: Costs) -> Figure:
    sequences = costs.plan.train.batch.sequences
    return _derive_rate(costs, "sequences", sequences, f"{sequences:,}")


def _derive_rate(costs: Costs, name: str, count: int, how: str) -> Figure:
    step = costs.step_figure
    how = f"{how} / {format_quantity(step.value, 's')}"
    return Figure(f"{name} per second", count / step.value, "", how, step.grade, (step,))


def _derive_stage_memory(costs: Costs, kind: str, rank: int) -> Figure:
    peak = (costs.states if kind in STATES else costs.memory)[rank]
    stage = f"stage {rank}"
    if kind == "peak":
        return replace(peak, name=f"peak of {stage}")
    for part in peak.parts:
        if part.name == kind:
            return replace(part, name=f"{kind} of {stage}", parts=())
    return Figure(f"{kind} of {stage}", 0.0, "B", "none at its fullest moment", "estimated")
