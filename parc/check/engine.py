"""All rules on all plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.check.costs import costs
from parc.check.rules import CHECKS
from parc.diagnostic import Diagnostic
from parc.plan.blocks import Plan
from parc.source import Span


def findings(plans: Iterable[Plan]) -> Iterator[Diagnostic]:
    """What the rules find in each of the plans."""
    for plan in plans:
        known = costs(plan)
        for rule in CHECKS.rules:
            yield from known.found(rule)


def check(found: Iterable[Diagnostic], faults: Iterable[Diagnostic]) -> Iterator[Diagnostic]:
    """Of all findings each one once, however many plans share it.

    Where a value was faulty a default stands in for it, so a finding that points there proves nothing and is
    left out: `faults` is what reading the file has told.
    """
    doubtful = [span for fault in faults if (span := fault.span)]
    seen: set[object] = set()
    for each in found:
        places = tuple((id(label.span.source), label.span.start, label.span.end) for label in each.labels)
        key = (each.code, each.message, places)
        if key not in seen and not _touches(each, doubtful):
            yield each
        seen.add(key)


def _touches(found: Diagnostic, doubtful: list[Span]) -> bool:
    return any(label.span.overlaps(span) for label in found.labels for span in doubtful)
