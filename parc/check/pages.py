"""All codes with their pages, as `parc rule CODE` prints them.

The page of a rule is its docstring. Codes that no rule finds have theirs written in `docs/rules/`.
"""

from __future__ import annotations

import re
from functools import cache
from inspect import cleandoc
from pathlib import Path

from parc.check.lints import LINTS
from parc.check.registry import Rule
from parc.check.rules import RULES
from parc.check.unsupported import LIMITS
from parc.diagnostic import Severity
from parc.resources import find_folder

HEADING = re.compile(r"# (?P<name>[a-z-]+) \((?P<code>P\d{3}), (?P<severity>\w+)\)\n\n")


@cache
def list_rules() -> tuple[Rule, ...]:
    """Every code that parc reports, in order."""
    rules = [*RULES.rules, *LINTS.rules, *LIMITS.rules]
    codes = {rule.code for rule in rules}
    files = (file for file in find_folder("docs/rules").glob("P*.md") if file.stem not in codes)
    return tuple(sorted([*rules, *map(_read_page, files)]))


def _read_page(file: Path) -> Rule:
    text = file.read_text(encoding="utf-8")
    heading = HEADING.match(text)
    assert heading, f"{file} does not begin with its name and code"
    code, name, severity = heading["code"], heading["name"], Severity(heading["severity"])
    return Rule(code, name, severity, text[heading.end() :].strip())


def format_page(code: str) -> str | None:
    """The page in Markdown; None: there is no such code."""
    for rule in list_rules():
        if rule.code == code:
            return f"# {rule.name} ({rule.code}, {rule.severity.value})\n\n{cleandoc(rule.prose)}"
    return None
