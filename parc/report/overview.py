"""A whole plan at a glance."""

from __future__ import annotations

from dataclasses import dataclass

from parc.check.claims.counts import derive_bubble
from parc.check.claims.verdict import Verdict, judge
from parc.check.costs import Costs, Unknown
from parc.check.detection import price
from parc.cost.explain import explain_flops
from parc.cost.figure import Figure
from parc.cost.job.job import Job
from parc.plan.blocks import Plan
from parc.report.groups import GroupSet, group_sets
from parc.report.link_traffic import Crossing, crossings
from parc.report.missing import Missing, missing
from parc.report.stages import StageRow, stage_rows
from parc.report.step import StepFacts, step_facts


@dataclass(frozen=True, slots=True)
class Overview:
    """Nothing here grows with the number of ranks; stages and microbatches do count."""

    plan: Plan
    job: Job | None
    groups: tuple[GroupSet, ...]
    stages: tuple[StageRow, ...]
    traffic: tuple[tuple[Crossing, ...], ...]  # by rank of the pipeline
    flops: Figure | None  # of one step, on one device
    bubble: Figure | None  # as the schedule has it, stages being equal
    step: StepFacts | None
    claims: tuple[Verdict, ...]
    missing: tuple[Missing, ...]

    @property
    def limit(self) -> float | None:
        """Bytes of a device's memory."""
        device = self.plan.cluster.device
        return device.memory if device else None


def overview(plan: Plan) -> Overview:
    """Of any plan that could be resolved; what its faults leave untold is in `missing`."""
    costs = price(plan)
    try:
        of: Job | None = costs.job
        return _told(costs, of, missing(plan, of))
    except Unknown as why:
        return _told(costs, None, missing(plan, None, str(why)))
    except ArithmeticError:
        return _told(costs, None, missing(plan, None, "its sizes are beyond what can be computed with"))


def _told(costs: Costs, of: Job | None, absent: tuple[Missing, ...]) -> Overview:
    plan = costs.plan
    stages = stage_rows(plan, of)
    return Overview(
        plan,
        of,
        group_sets(plan),
        stages,
        tuple(crossings(plan, of, stage.index) for stage in stages) if of else (),
        explain_flops(of) if of else None,
        _bubble(costs),
        step_facts(of) if of else None,
        judge(costs),
        absent,
    )


def _bubble(costs: Costs) -> Figure | None:
    try:
        return derive_bubble(costs)
    except Unknown:
        return None
