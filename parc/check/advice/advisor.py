"""Answers what the findings of one plan ask for. What several of them need is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from parc.check.advice.nearest import add_nearest
from parc.check.costs import Costs, Unknown
from parc.check.registry import Detected, Finding
from parc.check.requests import Layouts, NearestValues, Remedies

if TYPE_CHECKING:
    from parc.check.advice.alternatives import Alternative
    from parc.check.advice.locality import Locality

# What prices other layouts is imported where such advice is asked for: with the cost model it takes as long
# as the rest of a check.


def add_advice(costs: Costs, detected: Sequence[Detected]) -> Iterator[Detected]:
    """Each finding with the advice that it asks for; findings that the advice disproves are dropped."""
    advisor = Advisor(costs, detected)
    for each in detected:
        if finding := advisor.complete(each):
            yield each._replace(finding=finding)


class Advisor:
    def __init__(self, costs: Costs, detected: Sequence[Detected]) -> None:
        self.costs = costs
        self.detected = detected

    def complete(self, detected: Detected) -> Finding | None:
        finding = detected.finding
        match finding.advice:
            case None:
                return finding
            case NearestValues() as request:
                return add_nearest(self.costs.plan, detected, request, self.detected)
            case Remedies(verdict):
                from parc.check.advice.claim_remedies import find_remedies  # noqa: PLC0415 - start-up time

                return finding._replace(help=find_remedies(self.costs, verdict, self._claim_layouts))
            case Layouts() as layouts:
                try:
                    return self._find_layouts(finding, layouts)
                except Unknown:
                    return None if layouts.decides else finding

    def _find_layouts(self, finding: Finding, layouts: Layouts) -> Finding | None:
        if layouts is Layouts.FITTING:
            from parc.check.advice.memory import add_fitting  # noqa: PLC0415 - start-up time

            return add_fitting(self.costs.plan, finding)
        if layouts in (Layouts.BALANCED, Layouts.FINER):
            from parc.check.advice.pipeline import add_balanced, add_finer  # noqa: PLC0415 - start-up time

            add = add_balanced if layouts is Layouts.BALANCED else add_finer
            return add(self.costs, finding)
        return self._locality.faster if layouts is Layouts.FASTER else self._locality.find_closer()

    @cached_property
    def _claim_layouts(self) -> list[Alternative]:
        from parc.check.advice.claim_remedies import list_layouts  # noqa: PLC0415 - start-up time

        return list_layouts(self.costs.plan)

    @cached_property
    def _locality(self) -> Locality:
        from parc.check.advice.locality import Locality  # noqa: PLC0415 - start-up time: few findings need it

        return Locality(self.costs, self.detected)
