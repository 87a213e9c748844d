"""What became of mutants, and the table of it by class and rung."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from parc.verify.mutants.absent import ABSENT
from parc.verify.mutants.mutant import BUGS, Mutant
from parc.verify.mutants.runner import By, Caught

RUNGS = ("matching", "numbers", "fp32")
COLUMNS = ("mutants", *RUNGS, *get_args(By), "survived", "the same")


@dataclass(frozen=True)
class Outcome:
    """A mutant of a class, and what caught it. One that is provably the same, or untold, has not been run."""

    bug: str
    mutant: Mutant
    caught: Caught | None

    @property
    def survived(self) -> bool:
        return self.mutant.run and not self.caught


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line a class, and their sums; "mutants" are those that do not compute the same.

    One that is noticed counts for one rung, and for one way in which that has noticed it.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for each in outcomes:
        if each.mutant.untold:
            continue
        for bug in (each.bug, "all"):
            counts[bug].update(_columns(each))
    width = max(map(len, counts), default=0)
    yield f"{'class':<{width}}  " + "  ".join(COLUMNS)
    for bug in [*sorted(counts.keys() - {"all"}), *(["all"] if counts else [])]:
        cells = (f"{counts[bug][column] or '':>{len(column)}}" for column in COLUMNS)
        yield f"{bug:<{width}}  {'  '.join(cells)}".rstrip()


def _columns(each: Outcome) -> tuple[str, ...]:
    """Those that an outcome counts in."""
    if each.mutant.same:
        return ("the same",)
    return ("mutants", *((each.caught.rung, each.caught.notice.by) if each.caught else ("survived",)))


def reasons(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Why those that were not run were not, and which classes have no mutant here."""
    same = Counter(each.mutant.same for each in outcomes if each.mutant.same)
    for reason, count in sorted(same.items()):
        yield f"{count} compute{'s' if count == 1 else ''} the same: {reason}"
    untold = {each.bug: each.mutant.untold for each in outcomes if each.mutant.untold}
    yield from (f"not run, {bug}: {reason}" for bug, reason in untold.items())
    if bare := [name for name in BUGS if not any(each.bug == name for each in outcomes)]:
        yield f"no place for it in these programs: {', '.join(bare)}"
    yield from (f"no place for it, {name}: {why}" for name, why in ABSENT.items())
