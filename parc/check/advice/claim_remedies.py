"""What would make a false claim true: other layouts, tried; and counts that are solved for."""

from __future__ import annotations

from parc.check.advice import alternatives as other
from parc.check.advice.alternatives import Alternative
from parc.check.claims.figures import figure
from parc.check.claims.verdict import Verdict, holds, shown
from parc.check.costs import Unknown, costs
from parc.cost.figure import Figure
from parc.cost.memory import parameters
from parc.plan.blocks import Plan

MOST = 2  # layouts that are named
NEARER = 0.9  # of the distance to what is claimed, that a layout must be within to be named
LAYOUTS = (
    other.more_chunks,
    other.orders,
    other.sequence,
    other.sharding,
    other.recomputing,
    other.more_microbatches,
)


def remedies(plan: Plan, verdict: Verdict) -> tuple[str, ...]:
    """For a claim that does not hold: each makes it true; or that none was found, and what is nearest."""
    claim, derived = verdict.claim, verdict.figure
    assert derived is not None
    if claim.constant is not None:
        return (f"no layout changes a constant; what it comes to is {shown(derived)}",)
    if solved := _solved(plan, verdict):
        return (solved,)
    found: list[str] = []
    nearest: tuple[float, Figure, str] | None = None
    for alternative in _layouts(plan):
        try:
            other_figure = figure(alternative.costs, claim)
        except Unknown:
            continue
        if holds(claim, other_figure.value, verdict.claimed):
            found.append(f"with `{alternative.text}` it is {shown(other_figure)}")
            if len(found) == MOST:
                break
        gap = abs(other_figure.value - verdict.claimed)
        if nearest is None or gap < nearest[0]:
            nearest = gap, other_figure, alternative.text
    if found:
        return tuple(found)
    if nearest is None or nearest[0] > NEARER * abs(derived.value - verdict.claimed):
        return (f"no layout that was tried makes it true; as planned it is {verdict.told}",)
    return (f"no layout that was tried makes it true; the nearest, `{nearest[2]}`, has {shown(nearest[1])}",)


def _layouts(plan: Plan) -> list[Alternative]:
    known = costs(plan)
    if known.others is None:
        known.others = [each for make in LAYOUTS for each in other.fewer(make, plan)]
    return known.others


def _solved(plan: Plan, verdict: Verdict) -> str | None:
    """A size of the model that makes a count what is claimed."""
    if verdict.claim.relation != "==" or verdict.figure is None:
        return None
    shape = plan.train.model.shape
    if verdict.claim.subject == "parameters" and shape.experts and shape.ffn:
        of = costs(plan).job.architecture
        experts = (of.layers - of.dense_layers) * of.experts
        each = (verdict.claimed - parameters.count_model(of)) / experts + parameters.count_ffn(of, of.ffn)
        wide = round(each / parameters.count_ffn(of, 1))
        return f"an `ffn` of {wide:,} would do: {each:,.0f} parameters an expert" if wide > 0 else None
    if verdict.claim.subject == "experts.active" and shape.experts:
        chosen = verdict.claimed * shape.experts
        whole = chosen == int(chosen) and 0 < chosen <= shape.experts
        return (
            f"with `top_k = {chosen:.0f}` it would hold: {chosen:.0f} of {shape.experts}" if whole else None
        )
    if verdict.claim.subject == "experts.local" and shape.experts and verdict.claimed > 0:
        ranks = shape.experts / verdict.claimed
        whole = ranks == int(ranks)
        return f"with experts over {ranks:.0f} ranks it would hold" if whole else None
    return None
