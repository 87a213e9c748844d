"""The page of a rule, as `parc rule CODE` prints it."""

from __future__ import annotations

from inspect import cleandoc

from parc.check.codes.allowing import ALLOWING
from parc.check.codes.building import BUILDING
from parc.check.codes.explaining import EXPLAINING
from parc.check.codes.language import PAGES
from parc.check.codes.verifying import PROVING
from parc.check.registry import Rule
from parc.check.rules import CHECKS
from parc.check.unsupported import LIMITS


def all_rules() -> list[Rule]:
    """Every code that parc tells, in order."""
    return sorted(
        [
            *PAGES.rules,
            *ALLOWING.rules,
            *CHECKS.rules,
            *LIMITS.rules,
            *BUILDING.rules,
            *PROVING.rules,
            *EXPLAINING.rules,
        ]
    )


def page(code: str) -> str | None:
    for rule in all_rules():
        if rule.code == code:
            return f"# {rule.name} ({rule.code}, {rule.severity.value})\n\n{cleandoc(rule.prose)}"
    return None
