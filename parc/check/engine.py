"""What is reported of plans: what rules detect, each finding with the advice that it asks for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.check.costs import Costs
from parc.check.detection import detect_costs, detect_faults, price
from parc.diagnostic import Diagnostic
from parc.named_tuple import NamedTuple
from parc.plan.blocks import Plan


class Checked(NamedTuple):
    costs: Costs
    diagnostics: tuple[Diagnostic, ...]


def check_plan(plan: Plan) -> Checked:
    """The plan's costs, and what is reported of it."""
    faults = list(detect_faults(plan))
    costs = price(plan, faults)
    detected = [*faults, *detect_costs(costs)]
    if any(each.finding.advice for each in detected):
        from parc.check.advice.advisor import add_advice  # noqa: PLC0415 - start-up time

        detected = list(add_advice(costs, detected))
    return Checked(costs, tuple(each.diagnose() for each in detected))


def select_reliable(found: Iterable[Diagnostic], faults: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Of the diagnostics of all plans each one once, however many plans share it.

    Where a value was faulty a default replaces it, so a finding that points there proves nothing and is left
    out: `faults` are those of reading the file. A fault with a safe fix is read as the fix makes it.
    """
    doubtful = [span for fault in faults if (span := fault.span) and not (fault.fix and fault.fix.safe)]
    seen: set[object] = set()
    for each in found:
        places = tuple((id(label.span.source), label.span.start, label.span.end) for label in each.labels)
        key = (each.code, each.message, places)
        overlaps = any(label.span.overlaps(span) for label in each.labels for span in doubtful)
        if key not in seen and not overlaps:
            yield each
        seen.add(key)
