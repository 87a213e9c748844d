"""The exit codes of the commands."""

from __future__ import annotations

from collections.abc import Iterable

from parc.diagnostic import Diagnostic, has_errors

OK = 0
FAULTS = 1  # in a plan
USAGE = 2  # wrong arguments, unreadable files, missing packages


def choose_status(diagnostics: Iterable[Diagnostic]) -> int:
    """An unreadable file counts as wrong usage, every other error as a fault of the plan."""
    found = list(diagnostics)
    if any(each.code == "P009" for each in found):
        return USAGE
    return FAULTS if has_errors(found) else OK
