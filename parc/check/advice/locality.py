"""Layouts whose groups communicate less: other orders of the axes, or else experts that stay in a node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache, cached_property

from parc.check.advice.alternatives import Alternative, reorder_axes
from parc.check.advice.expert_locality import keep_experts_in
from parc.check.claims.groups import sum_seconds, sum_sent, time_over
from parc.check.claims.verdict import format_value
from parc.check.costs import Costs, Unknown
from parc.check.detection import detect_costs, detect_faults
from parc.check.lints.locality import list_far
from parc.check.registry import Detected, Finding
from parc.check.requests import Layouts
from parc.cost.figure import format_quantity
from parc.cost.job.from_plan import derive_groups
from parc.cost.job.parallelism import FanOut
from parc.cost.network.traffic import Transfer
from parc.diagnostic import Label, Severity
from parc.plan.mesh import Mesh
from parc.record import replace

BETTER = 0.95  # of a step's time: what another layout must save to be worth a warning
CLOSER = 0.7  # of the collectives' time, to be worth a word
MATTERS = 0.1  # of a step, from which on collectives are worth one


class Locality:
    """Layouts of one plan that communicate less, for both rules that ask for them."""

    def __init__(self, costs: Costs, detected: Iterable[Detected]) -> None:
        self.costs = costs
        self.plan = replace(costs.plan, expect=())  # claims are not about other layouts
        self.far = list_far(self.plan)
        self.codes = _list_codes(detected)
        self.time = time_orders(costs)

    def find_closer(self) -> Finding | None:
        """For P325: a layout with clearly shorter collectives, whose steps take as long as now."""
        self.costs.require_even()
        step, now = self.costs.step.seconds, self.time(self.plan.mesh)
        if now < MATTERS * step or self.faster:
            return None
        best = self._best_order
        if best and best.seconds and best.seconds <= step and self.time(best.plan.mesh) <= CLOSER * now:
            return self._report_order(best)

        def measure(layout: Alternative) -> float | None:
            then = _time_own(layout)
            return then if then <= CLOSER * now and layout.costs.step.seconds <= step else None

        return self._find_layout(measure)

    @cached_property
    def faster(self) -> Finding | None:
        """For P324: a layout with clearly shorter steps, or one that keeps tensor groups in a node."""
        try:
            self.costs.require_even()
            now, best = self.costs.step.seconds, self._best_order
        except Unknown:
            return self._find_unpriced()
        if best and best.seconds is not None:
            kept = "tensor" in self.far and "tensor" not in list_far(best.plan)
            if best.seconds <= BETTER * now or (kept and best.seconds <= now):
                return self._report_order(best)
        if best and self.time(best.plan.mesh) <= CLOSER * self.time(self.plan.mesh):
            return None  # P325 reports this order

        def measure(layout: Alternative) -> float | None:
            then = layout.seconds
            return then if then and then <= BETTER * now else None

        return self._find_layout(measure)

    @cached_property
    def _best_order(self) -> Alternative | None:
        """The order whose collectives take the least time, where that is less than now."""
        orders = list(reorder_axes(self.plan))
        best = min(orders, key=lambda each: self.time(each.plan.mesh), default=None)
        if best is None or self.time(best.plan.mesh) >= self.time(self.plan.mesh):
            return None
        # What can be divided, and what excludes what, is the same in every order: no rule need be run again.
        costs = Costs(best.plan, self.costs.layout_fault, self.costs.batch_fault)
        return Alternative(best.text, best.plan, best.edits, costs)

    def _find_unpriced(self) -> Finding | None:
        """Where no price is known: the first order that keeps tensor groups in a node."""
        if "tensor" not in self.far:
            return None
        orders = reorder_axes(self.plan)
        best = next((each for each in orders if "tensor" not in list_far(each.plan)), None)
        return self._report_order(best, priced=False) if best else None

    @cached_property
    def _layouts(self) -> tuple[Alternative, ...]:
        return tuple(keep_experts_in(self.plan))

    def _find_layout(self, measure: Callable[[Alternative], float | None]) -> Finding | None:
        """Of the layouts that keep the experts in, the legal one for which `measure` is least, if it is not
        None."""
        measured = [
            (value, at) for at, each in enumerate(self._layouts) if (value := measure(each)) is not None
        ]
        found = (self._layouts[at] for _, at in sorted(measured))
        best = next((each for each in found if self._is_legal(each)), None)
        return self._report_layout(best) if best else None

    def _is_legal(self, layout: Alternative) -> bool:
        """Whether it has no error and no warning that the plan does not have."""
        found = (*detect_faults(layout.plan), *detect_costs(layout.costs))
        return _list_codes(each for each in found if not _is_undecided(each)) <= self.codes

    def _report_order(self, best: Alternative, priced: bool = True) -> Finding:
        plan, unit, after = self.plan, self.plan.cluster.levels[-1], list_far(best.plan)
        kept = [name for name in self.far if name not in after]
        notes = self._describe_reach(self.far, priced)
        if out := [f"`{name}`" for name in after if name not in self.far]:
            notes.append(f"with the other order groups of {' and '.join(out)} span several {unit.name}s")
        if priced:
            notes += self._compare(best, self.time(best.plan.mesh), "order")
        named = " and ".join(f"`{name}`" for name in kept or self.far)
        avoided = ", which another order of the axes avoids"
        outcome = avoided if kept else ", and another order of the axes communicates less"
        labels = [Label(plan.at("mesh"), f"the last axis runs over neighbours, {unit.size:,} a {unit.name}")]
        labels += [
            Label(getattr(plan, name).span, f"spans several {unit.name}s", primary=False) for name in kept
        ]
        return Finding(
            f"groups of {named} span several {unit.name}s{outcome}",
            tuple(labels),
            tuple(notes),
            f"`{best.text}`",
            best.make_fix("put the axes in this order"),
        )

    def _report_layout(self, best: Alternative) -> Finding:
        plan, unit, experts = self.plan, self.plan.cluster.levels[-1], self.plan.experts
        assert experts
        order = f" that keeps `tensor` in a {unit.name}" if plan.tensor else ""
        return Finding(
            f"groups of `experts` span several {unit.name}s in every order of the axes{order}",
            (
                Label(experts.span, f"spans several {unit.name}s"),
                Label(plan.at("mesh"), f"{unit.size:,} ranks a {unit.name}", primary=False),
            ),
            (*self._describe_reach(("experts",)), *self._compare(best, _time_own(best), "layout")),
            f"`{best.text}`",
            best.make_fix(f"keep experts in a {unit.name}"),
        )

    def _describe_reach(self, strategies: Sequence[str], priced: bool = True) -> list[str]:
        """How many units a group touches; priced, with bytes and seconds of one device and step."""
        mesh, levels, notes = self.plan.mesh, self.plan.cluster.levels, []
        for name in strategies:
            axes = getattr(self.plan, name).axes
            group = f"{mesh.product(axes):,} ranks of `{name}` over {', '.join(f'`{axis}`' for axis in axes)}"
            touched = mesh.count_units(axes, [level.size for level in levels])[-1]
            note = f"each group of {group} touches {touched:,} {levels[-1].name}s"
            if priced:
                sent, seconds = sum_sent(self.costs, name), sum_seconds(self.costs, name)
                note += f": {format_value(sent)} and {format_value(seconds)} a step of one device"
            notes.append(note)
        return notes

    def _compare(self, other: Alternative, then: float, what: str) -> list[str]:
        """`then`: seconds of collectives of the other layout."""
        times = (self.time(self.plan.mesh), then, self.costs.step.seconds, other.seconds or 0.0)
        now, shorter, step, after = (format_quantity(each, "s") for each in times)
        return [
            f"collectives of one device: {now} a step, with the other {what} {shorter}",
            f"predicted step: {step}, with the other {what} {after}",
        ]


def time_orders(costs: Costs) -> Callable[[Mesh], float]:
    """The time that collectives take in other orders of the axes.

    In seconds of a step, on the device where they take longest. What is sent is the same in every order, only
    its groups lie otherwise.
    """

    @cache
    def time_group(fans: FanOut, moved: Transfer) -> float:
        return time_over(costs, fans, moved)

    @cache
    def time_order(order: Mesh) -> float:
        own = order == costs.plan.mesh
        groups = costs.job.parallelism.groups if own else derive_groups(replace(costs.plan, mesh=order))
        return max(
            sum(count * time_group(getattr(groups, each.group), each) for each, count in calls.items())
            for calls in costs.calls.values()
        )

    return time_order


def _time_own(layout: Alternative) -> float:
    return time_orders(layout.costs)(layout.plan.mesh)


def _list_codes(detected: Iterable[Detected]) -> set[str]:
    """Of errors and warnings."""
    return {each.rule.code for each in detected if each.rule.severity is not Severity.INFO}


def _is_undecided(detected: Detected) -> bool:
    """Whether the advice decides if it is a finding."""
    return isinstance(detected.finding.advice, Layouts) and detected.finding.advice.decides
