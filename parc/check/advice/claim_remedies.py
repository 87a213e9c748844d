"""What would make a false claim true: other layouts, priced; and sizes of the model that are solved for."""

from __future__ import annotations

from parc.check.advice.alternatives import (
    Alternative,
    generate,
    interleave_more,
    raise_microbatches,
    recompute_more,
    reorder_axes,
    shard_more,
    split_sequences,
)
from parc.check.claims.figures import derive_claimed
from parc.check.claims.verdict import Verdict, format_value, holds
from parc.check.costs import Costs, Unknown
from parc.cost.figure import Figure
from parc.cost.memory import parameters
from parc.plan.blocks import Plan

MOST = 2  # layouts that are named
NEARER = 0.9  # of the distance to what is claimed, that a layout must be within to be named
LAYOUTS = (
    interleave_more,
    reorder_axes,
    split_sequences,
    shard_more,
    recompute_more,
    raise_microbatches,
)


def list_layouts(plan: Plan) -> list[Alternative]:
    """Those that are tried for every claim of the plan."""
    return [each for make in LAYOUTS for each in generate(make, plan)]


def find_remedies(costs: Costs, verdict: Verdict, layouts: list[Alternative]) -> str:
    """For a claim that does not hold: what makes it true; or that nothing does, and the nearest layout."""
    claim, derived = verdict.claim, verdict.figure
    assert derived is not None
    if claim.constant is not None:
        return f"no layout changes a constant; its value is {format_value(derived)}"
    if solved := _suggest_size(costs, verdict):
        return solved
    found: list[str] = []
    nearest: tuple[float, Figure, str] | None = None
    for each in layouts:
        try:
            figure = derive_claimed(each.costs, claim)
        except Unknown:
            continue
        if holds(claim, figure.value, verdict.claimed):
            found.append(f"with `{each.text}` it is {format_value(figure)}")
            if len(found) == MOST:
                break
        gap = abs(figure.value - verdict.claimed)
        if nearest is None or gap < nearest[0]:
            nearest = gap, figure, each.text
    if found:
        return "; ".join(found)
    none = "no layout that was tried makes it true"
    if nearest is None or nearest[0] > NEARER * abs(derived.value - verdict.claimed):
        return f"{none}; as planned it is {verdict.value}"
    return f"{none}; the nearest, `{nearest[2]}`, has {format_value(nearest[1])}"


def _suggest_size(costs: Costs, verdict: Verdict) -> str | None:
    """A size of the model with which a claimed count would be true, as a help text."""
    shape, subject, claimed = costs.plan.train.model.shape, verdict.claim.subject, verdict.claimed
    if verdict.claim.relation != "==" or not shape.experts:
        return None
    if subject == "parameters" and shape.ffn:
        of = costs.job.architecture
        experts = of.expert_layers * of.experts
        if not experts:
            return None
        each = (claimed - parameters.count_model(of)) / experts + parameters.count_ffn(of, of.ffn)
        wide = round(each / parameters.count_ffn(of, 1))
        return f"an `ffn` of {wide:,} would do: {each:,.0f} parameters an expert" if wide > 0 else None
    if subject == "experts.active":
        chosen = claimed * shape.experts
        whole = chosen == int(chosen) and 0 < chosen <= shape.experts
        return (
            f"with `top_k = {chosen:.0f}` it would hold: {chosen:.0f} of {shape.experts}" if whole else None
        )
    if subject == "experts.local" and claimed > 0:
        ranks = shape.experts / claimed
        return f"with experts over {ranks:.0f} ranks it would hold" if ranks == int(ranks) else None
    return None
