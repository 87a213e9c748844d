"""From the name of a claim's subject to the figure that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from parc.check.claims import counts, groups, prices
from parc.check.costs import Costs, Unknown
from parc.cost.figure import Figure
from parc.plan import subjects
from parc.plan.blocks import Claim

Derive: TypeAlias = Callable[[Costs], Figure]

FIGURES: dict[str, Derive] = {
    "devices": counts.devices,
    "parameters": counts.whole,
    "parameters.active": counts.active,
    "parameters.experts": counts.of_experts,
    "parameters.device": counts.fullest,
    "parameters.device.experts": counts.fullest_of_experts,
    "experts.local": counts.local,
    "experts.active": counts.met,
    "flops": counts.flops,
    "flops.device": counts.flops_of_device,
    "bubble": counts.bubble,
    "step_time": prices.step_time,
    "mfu": prices.mfu,
    "tokens_per_second": prices.tokens,
    "sequences_per_second": prices.sequences,
}
OF_GROUPS: dict[str, Callable[[Costs, str], Figure]] = {
    "ranks": groups.ranks,
    "groups": groups.groups,
    "stride": groups.stride,
    "buffers": groups.buffers,
    "sent": groups.sent,
    "time": groups.seconds,
    "call.buffer": groups.largest,
    "call.time": groups.slowest,
}


def figure(costs: Costs, claim: Claim) -> Figure:
    """Raises `Unknown` where it cannot be derived."""
    if claim.constant is not None:
        how = " ".join(claim.at("let").text.split())
        return Figure(claim.subject, claim.constant, claim.unit, how, "exact")
    return named(costs, claim.subject)


def named(costs: Costs, name: str) -> Figure:
    """The same by the name of a subject, which is one that `subjects` knows."""
    if name not in costs.derived:
        costs.derived[name] = _derived(costs, name)
    return costs.derived[name]


def _derived(costs: Costs, name: str) -> Figure:
    if name in FIGURES:
        return FIGURES[name](costs)
    rank = subjects.parse_stage(name)
    if rank is not None:
        _one_of_the_ranks(costs, rank)
    if name.startswith("parameters.") and rank is not None:
        return counts.held(costs, rank)
    strategy, _, key = name.partition(".")
    if strategy == "memory":
        return prices.memory(costs, key.rpartition(".")[2], rank)
    if key in OF_GROUPS:
        return OF_GROUPS[key](costs, strategy)
    return groups.touched(costs, strategy, key.removesuffix("s"))


def _one_of_the_ranks(costs: Costs, rank: int) -> None:
    stages = costs.job.degrees.pipeline
    if rank >= stages:
        raise Unknown(f"the pipeline's last stage is stage {stages - 1:,}")
