"""The page of a rule, as `parc rule CODE` prints it."""

from __future__ import annotations

from inspect import cleandoc

from parc.check import built, language, rules
from parc.check.registry import CHECKS, LIMITS, Rule

assert built, rules  # importing them declares their rules


def all_rules() -> list[Rule]:
    """Every code that parc tells of a plan file, in order."""
    return sorted([*language.PAGES.rules, *CHECKS.rules, *LIMITS.rules])


def page(code: str) -> str | None:
    for rule in all_rules():
        if rule.code == code:
            return f"# {rule.name} ({rule.code}, {rule.severity.value})\n\n{cleandoc(rule.prose)}"
    return None
