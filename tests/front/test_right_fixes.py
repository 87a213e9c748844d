"""A fix is right: it lowers the number of errors, or of warnings if it is of a warning, and raises none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from os.path import realpath
from pathlib import Path

import pytest

from parc.check.fixing import apply_fixes
from parc.check.load import load_text
from parc.diagnostic import Diagnostic, Severity
from parc.source import Source
from tests.front.faulty_plans import make_faulty
from tests.front.test_fixing import TWO_PLANS

FAULTY = sorted((Path(__file__).parents[1] / "plans" / "fail").glob("*.parc"))


def count(found: Iterable[Diagnostic], severity: Severity) -> Counter[str]:
    return Counter(each.code for each in found if each.severity is severity)


def try_fixes(path: str, text: str, tries_fixes: bool = True) -> tuple[int, list[str]]:
    """How many fixes a text has, and the messages of those that are wrong."""
    found = load_text(Source(path, text), tries_fixes=tries_fixes).diagnostics
    fixes, wrong = 0, []
    for fault in found:
        if fault.fix is None or fault.severity is Severity.INFO:
            continue
        texts, applied = apply_fixes({realpath(path): text}, [fault.fix])
        if not applied:  # of an imported file
            continue
        fixes += 1
        after = load_text(Source(path, texts[realpath(path)]), tries_fixes=False).diagnostics
        had, has = count(found, fault.severity), count(after, fault.severity)
        if has.total() >= had.total() or count(after, Severity.ERROR) - count(found, Severity.ERROR):
            wrong.append(f"{fault.code} {fault.message}: {fault.fix.title}")
    return fixes, wrong


@pytest.mark.parametrize("file", FAULTY, ids=lambda file: file.stem)
def test_every_fix_of_the_faulty_plans_is_right(file: Path) -> None:
    assert try_fixes(str(file), file.read_text())[1] == []


MANY = [pytest.param(first, 500, marks=pytest.mark.slow) for first in range(0, 2_000, 500)]


@pytest.mark.parametrize(("first", "number"), [(0, 60), *MANY])
def test_every_fix_of_a_plan_with_accidents_is_right(first: int, number: int) -> None:
    tried = 0
    for seed in range(first, first + number):
        fixes, wrong = try_fixes("plan.parc", make_faulty(seed))
        assert wrong == [], seed
        tried += fixes
    assert tried > number / 2


def test_few_fixes_have_to_be_tried_to_be_right() -> None:
    """A fault with a fix is read as the fix makes it: what it would uncover is reported beside it."""
    found = [try_fixes("plan.parc", make_faulty(seed), tries_fixes=False) for seed in range(60, 120)]
    assert sum(len(wrong) for _, wrong in found) <= 0.05 * sum(fixes for fixes, _ in found)


def test_a_fix_that_is_not_right_is_a_note() -> None:
    """`full` wants 64 microbatches, which `good`, of the same train, cannot have."""
    guessed = load_text(Source("plan.parc", TWO_PLANS), tries_fixes=False).diagnostics
    right = load_text(Source("plan.parc", TWO_PLANS)).diagnostics
    assert [each.fix is None for each in guessed] == [False, False]
    assert [each.fix is None for each in right] == [True, True]
    assert all(
        "write `microbatches = 64`, is not offered: it would cause P208" in each.notes[-1] for each in right
    )
