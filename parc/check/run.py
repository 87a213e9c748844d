"""All rules on all plans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from parc.check.rules import CHECKS
from parc.diagnostic import Diagnostic
from parc.plan.facts import Plan
from parc.source import Span


class Findings:
    """What the rules found in each plan, kept for the next time: an editor checks at every keystroke."""

    def __init__(self) -> None:
        self.before: dict[int, tuple[Plan, tuple[Diagnostic, ...]]] = {}

    def of(self, plans: Iterable[Plan]) -> Iterator[Diagnostic]:
        """Of all plans; those that are the same objects as last time are not looked at again."""
        now = {}
        for plan in plans:
            now[id(plan)] = self.before.get(id(plan)) or (plan, tuple(_findings(plan)))
            yield from now[id(plan)][1]
        self.before = now


def _findings(plan: Plan) -> Iterator[Diagnostic]:
    for rule in CHECKS.rules:
        yield from rule.run(plan)


def check(
    plans: Iterable[Plan], faults: Iterable[Diagnostic], findings: Findings | None = None
) -> Iterator[Diagnostic]:
    """What the rules find, each finding once, however many plans share it.

    Where a value was faulty a default stands in for it, so a finding that points there proves nothing and is
    left out: `faults` is what reading the file has told.
    """
    doubtful = [span for fault in faults if (span := fault.span)]
    seen: set[object] = set()
    for found in (findings or Findings()).of(plans):
        places = tuple((id(label.span.source), label.span.start, label.span.end) for label in found.labels)
        key = (found.code, found.message, places)
        if key not in seen and not _touches(found, doubtful):
            yield found
        seen.add(key)


def _touches(found: Diagnostic, doubtful: list[Span]) -> bool:
    return any(label.span.overlaps(span) for label in found.labels for span in doubtful)
