"""What would make a false claim true."""

from __future__ import annotations

from parc.check.claims.verdict import Verdict
from parc.plan.facts import Plan


def remedies(plan: Plan, verdict: Verdict) -> tuple[str, ...]:
    return ()
