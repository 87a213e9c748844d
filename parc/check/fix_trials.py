"""Tries the fixes of a plan's diagnostics, and keeps those that lower the number of faults and raise none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from parc.check.fixing import Texts, apply_fixes
from parc.diagnostic import Diagnostic, Severity
from parc.record import replace

MAX_CHECKED = 30_000  # characters that are checked to try all fixes of a text; other fixes stay untried
NOTED = "P2"  # from this code on, a fix that is left out is named in a note: it was advice


def keep_right_fixes(
    texts: Texts, found: Sequence[Diagnostic], check: Callable[[Texts], Iterable[Diagnostic]]
) -> Iterator[Diagnostic]:
    """The diagnostics of these texts, without fixes that are not right. `check` finds those of others."""
    left = MAX_CHECKED
    size = sum(map(len, texts.values()))
    for each in found:
        if each.fix and each.severity is not Severity.INFO and (left := left - size) >= 0:
            fixed, applied = apply_fixes(texts, [each.fix])
            if applied and (reason := _find_reason(found, each, list(check(fixed)))):
                note = f"the fix, {each.fix.title}, is not offered: {reason}"
                notes = each.notes if each.code < NOTED else (*each.notes, note)
                each = replace(each, fix=None, notes=notes)
        yield each


def _find_reason(before: Sequence[Diagnostic], fault: Diagnostic, after: Sequence[Diagnostic]) -> str:
    """Why a fix is not right that leaves these diagnostics; empty if it is."""
    caused = _count(after, Severity.ERROR) - _count(before, Severity.ERROR)
    if caused:
        return f"it would cause {', '.join(sorted(caused))}"
    had, has = (_count(some, fault.severity).total() for some in (before, after))
    return "" if has < had else "it would leave as many faults"


def _count(found: Iterable[Diagnostic], severity: Severity) -> Counter[str]:
    """How many diagnostics of a severity there are, by code."""
    return Counter(each.code for each in found if each.severity is severity)
