"""The page of a rule, as `parc rule CODE` prints it."""

from __future__ import annotations

from inspect import cleandoc

from parc.check.allow.pages import ALLOWING
from parc.check.building import BUILDING
from parc.check.built import LIMITS
from parc.check.explaining import EXPLAINING
from parc.check.language import PAGES
from parc.check.proving import PROVING
from parc.check.registry import Rule
from parc.check.rules import CHECKS


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
