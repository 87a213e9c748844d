"""What rules find in a plan, and what it costs. Without advice, so that layouts can be tried."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from parc.check.costs import Costs, Unknown
from parc.check.lints import LINTS
from parc.check.registry import Detected
from parc.check.rules import RULES
from parc.plan.blocks import Plan

_LAYOUT = (203, 204, 205, 206, 207, 209, 211, 212, 213, 214, 221, 222, 223, 224, 227, 229)
_AXES = (302, 303, 304, 305, 309, 310)
UNSOUND = frozenset(f"P{number}" for number in (*_LAYOUT, *_AXES))
"""Errors of a layout of which nothing can be computed: halves of experts, axes that exclude one another."""
UNEVEN = frozenset({"P208"})
"""Errors of a batch whose figures are those of the mean."""


def detect_faults(plan: Plan, codes: Collection[str] | None = None) -> Iterator[Detected]:
    """Findings of the rules, or of those with these codes."""
    for check in RULES.checks:
        if codes is None or check.rule.code in codes:
            yield from check.detect(plan)


def detect_costs(costs: Costs) -> Iterator[Detected]:
    """Findings of the lints. A figure that cannot be derived proves nothing."""
    for check in LINTS.checks:
        try:
            yield from check.detect(costs)
        except Unknown:
            continue


def price(plan: Plan, faults: Iterable[Detected] | None = None) -> Costs:
    """What the plan costs. `faults` are those of the plan, where they are known already."""
    found = list(detect_faults(plan, UNSOUND | UNEVEN) if faults is None else faults)
    return Costs(plan, _describe_first(found, UNSOUND), _describe_first(found, UNEVEN))


def _describe_first(faults: Iterable[Detected], codes: frozenset[str]) -> str | None:
    found = (each for each in faults if each.rule.code in codes)
    return next((f"{finding.message} ({rule.code})" for rule, finding in found), None)
