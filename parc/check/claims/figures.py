"""From the name of a claim's subject to the figure that it is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from parc.check.claims import counts, groups, prices
from parc.check.costs import Costs, Unknown
from parc.cost.explain import explain_flops
from parc.cost.figure import Figure
from parc.plan import subjects
from parc.plan.blocks import Claim

Derive: TypeAlias = Callable[[Costs], Figure]

FIGURES: dict[str, Derive] = {
    "devices": counts.count_devices,
    "parameters": counts.count_parameters,
    "parameters.active": counts.count_active_parameters,
    "parameters.experts": counts.count_expert_parameters,
    "parameters.device": counts.count_device_parameters,
    "parameters.device.experts": counts.count_device_expert_parameters,
    "experts.local": counts.count_local_experts,
    "experts.active": counts.derive_active_share,
    "flops": counts.count_flops,
    "flops.device": lambda costs: explain_flops(costs.job),
    "bubble": counts.derive_bubble,
    "step_time": lambda costs: costs.step_figure,
    "mfu": lambda costs: costs.mfu_figure,
    "tokens_per_second": prices.derive_token_rate,
    "sequences_per_second": prices.derive_sequence_rate,
}
OF_GROUPS: dict[str, Callable[[Costs, str], Figure]] = {
    "ranks": groups.count_ranks,
    "groups": groups.count_groups,
    "stride": groups.find_stride,
    "buffers": groups.sum_buffers,
    "sent": groups.sum_sent,
    "time": groups.sum_seconds,
    "call.buffer": groups.find_largest_call,
    "call.time": groups.find_slowest_call,
}


def derive_claimed(costs: Costs, claim: Claim) -> Figure:
    """The figure that a claim is about.

    Raises:
        Unknown: it cannot be derived.
    """
    if claim.constant is not None:
        how = " ".join(claim.at("let").text.split())
        return Figure(claim.subject, claim.constant, claim.unit, how, "exact")
    return derive_figure(costs, claim.subject)


def derive_figure(costs: Costs, name: str) -> Figure:
    """The figure of a plan that a subject of claims names, one that `subjects` knows."""
    if name in FIGURES:
        return FIGURES[name](costs)
    rank = subjects.parse_stage(name)
    if rank is not None and rank >= costs.job.degrees.pipeline:
        raise Unknown(f"the pipeline's last stage is stage {costs.job.degrees.pipeline - 1:,}")
    if name.startswith("parameters.") and rank is not None:
        return counts.count_stage_parameters(costs, rank)
    strategy, _, key = name.partition(".")
    if strategy == "memory":
        return prices.derive_memory(costs, key.rpartition(".")[2], rank)
    if key in OF_GROUPS:
        return OF_GROUPS[key](costs, strategy)
    return groups.count_units(costs, strategy, key.removesuffix("s"))
