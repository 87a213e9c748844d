"""The overview of a plan: groups, stages, traffic, step and claims."""

from __future__ import annotations

from dataclasses import dataclass

from parc.check.claims.counts import count_active_parameters, count_parameters, derive_bubble
from parc.check.claims.verdict import Verdict, judge
from parc.check.costs import Costs, Unknown
from parc.check.detection import price
from parc.cost.explain import explain_flops
from parc.cost.figure import Figure
from parc.cost.job.job import Job
from parc.plan.blocks import Plan
from parc.report.groups import GroupSet, list_group_sets
from parc.report.link_traffic import LinkTraffic, list_link_traffic
from parc.report.missing import MissingFigures, find_missing
from parc.report.stages import StageRow, list_stages
from parc.report.step import StepOverview, describe_step


@dataclass(frozen=True, slots=True)
class Overview:
    """An overview. Its size depends on the numbers of stages and microbatches, not on that of ranks."""

    plan: Plan
    job: Job | None
    parameters: Figure | None  # of the whole model
    active: Figure | None  # of them in the matmuls of one token
    groups: tuple[GroupSet, ...]
    stages: tuple[StageRow, ...]
    traffic: tuple[tuple[LinkTraffic, ...], ...]  # by rank of the pipeline
    flops: Figure | None  # of one step, on one device
    bubble: Figure | None  # of the schedule with equal stages
    step: StepOverview | None
    claims: tuple[Verdict, ...]
    missing: tuple[MissingFigures, ...]

    @property
    def limit(self) -> float | None:
        """The bytes of a device that tensors can have."""
        device = self.plan.cluster.device
        return device.usable if device else None


def build_overview(plan: Plan) -> Overview:
    """The overview of any resolved plan; figures that its faults leave unknown are listed in `missing`."""
    costs = price(plan)
    try:
        job: Job | None = costs.job
        return _assemble(costs, job, find_missing(plan, job))
    except Unknown as reason:
        return _assemble(costs, None, find_missing(plan, None, str(reason)))
    except ArithmeticError:
        return _assemble(costs, None, find_missing(plan, None, "its sizes exceed the range of numbers"))


def _assemble(costs: Costs, job: Job | None, missing: tuple[MissingFigures, ...]) -> Overview:
    plan = costs.plan
    stages = list_stages(plan, job)
    return Overview(
        plan,
        job,
        count_parameters(costs) if job else None,
        count_active_parameters(costs) if job else None,
        list_group_sets(plan),
        stages,
        tuple(list_link_traffic(plan, job, stage.index) for stage in stages) if job else (),
        explain_flops(job) if job else None,
        _compute_bubble(costs),
        describe_step(job) if job else None,
        judge(costs),
        missing,
    )


def _compute_bubble(costs: Costs) -> Figure | None:
    try:
        return derive_bubble(costs)
    except Unknown:
        return None
