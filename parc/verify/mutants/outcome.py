"""The outcome of each mutant, and the table of outcomes by class and rung."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from parc.verify.mutants.registry import ABSENT, BUGS
from parc.verify.mutants.runner import Detection, Means
from parc.verify.mutants.target import Mutant

RUNGS = ("matching", "numbers", "fp32", "bf16")
COLUMNS = ("mutants", *RUNGS, *get_args(Means), "survived", "equivalent")


@dataclass(frozen=True)
class Outcome:
    """A mutant of a class, and what detected it. Equivalent and undetectable mutants are not run."""

    bug: str
    mutant: Mutant
    detection: Detection | None

    @property
    def survived(self) -> bool:
        return self.mutant.run and not self.detection

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that count it."""
        if self.mutant.equivalent:
            return ("equivalent",)
        if self.mutant.undetectable:
            return ()
        found = self.detection
        return ("mutants", *((found.rung, found.means) if found else ("survived",)))


def format_table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """A line for each class, and their sums. "mutants" are those that were run.

    A mutant that is detected counts for one rung, and for one means by which that rung detected it.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for each in outcomes:
        if each.columns:
            counts[each.bug].update(each.columns)
    total = {"all": sum(counts.values(), Counter())} if counts else {}
    width = max(map(len, (*counts, *total)), default=0)
    yield f"{'class':<{width}}  " + "  ".join(COLUMNS)
    for bug, row in (dict(sorted(counts.items())) | total).items():
        cells = (f"{row[column] or '':>{len(column)}}" for column in COLUMNS)
        yield f"{bug:<{width}}  {'  '.join(cells)}".rstrip()


def list_reasons(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Why mutants were not run, and which classes have no mutant here."""
    equivalent = Counter(each.mutant.equivalent for each in outcomes if each.mutant.equivalent)
    for reason, count in sorted(equivalent.items()):
        yield f"{count} {'is' if count == 1 else 'are'} equivalent: {reason}"
    undetectable = {each.bug: each.mutant.undetectable for each in outcomes if each.mutant.undetectable}
    yield from (f"not run, {bug}: {reason}" for bug, reason in undetectable.items())
    if bare := [name for name in BUGS if not any(each.bug == name for each in outcomes)]:
        yield f"no place for it in these programs: {', '.join(bare)}"
    yield from (f"no place for it, {name}: {why}" for name, why in ABSENT.items())
