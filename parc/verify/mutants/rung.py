"""The rung that proves the others: would they have noticed the bugs that others have had?"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from parc.runtime.data import Dataset
from parc.verify.mutants import bugs  # noqa: F401 - registers them
from parc.verify.mutants.mutant import BUGS, Mutant
from parc.verify.mutants.outcome import Outcome, reasons, table
from parc.verify.mutants.runner import Judge
from parc.verify.mutants.target import Subject
from parc.verify.report import Finding, NotProvable, Rung
from parc.verify.sample.compile import Trial

SITES = 2  # of a class, drawn where there are more
TIMEOUT = 60.0  # seconds after which a mutant of a small program hangs


def mutants(
    trial: Trial,
    low: Trial | None,
    dataset: Dataset,
    *,
    seed: int = 0,
    timeout: float = TIMEOUT,
    sites: int = SITES,
    progress: Callable[[str], None],
) -> Rung:
    """Injects every known silent bug that the plan can have into its program, at up to `sites` sites each.

    `trial` computes in float64, `low` is the same plan in float32, where it can be built. `timeout` is what a
    mutant may take at least, in seconds. A mutant that does not compute the same and is not noticed refutes.
    `progress` hears of each mutant that has been run.
    Raises `NotProvable` where the program itself does not climb the rungs.
    """
    start = time.perf_counter()
    found = list(outcomes(trial, low, dataset, seed=seed, timeout=timeout, sites=sites, progress=progress))
    survivors = [each for each in found if each.survived]
    findings = tuple(Finding(f"not noticed: {each.bug}, {each.mutant.site}") for each in survivors)
    lines = (*table(found), *reasons(found))
    return Rung("mutants", "refuted" if findings else "proved", lines, findings, time.perf_counter() - start)


def outcomes(
    trial: Trial,
    low: Trial | None,
    dataset: Dataset,
    *,
    seed: int,
    timeout: float,
    sites: int,
    progress: Callable[[str], None],
) -> Iterator[Outcome]:
    """Each mutant, and what became of it. Raises `NotProvable`, as `mutants` does."""
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        judge = Judge(trial, low, dataset, Path(scratch), timeout=timeout)
        if alarm := judge.own():
            raise NotProvable(f"the program itself does not climb the rungs: {alarm}")
        lows = injected(Subject(low)) if low else {}
        found = chosen(injected(judge.subject()), seed, sites)
        total = sum(mutant.run for its in found.values() for mutant in its)
        done = 0
        for bug, mutant in ((bug, mutant) for bug, its in found.items() for mutant in its):
            if not mutant.run:
                yield Outcome(bug, mutant, None)
                continue
            low_edits = next((each.files for each in lows.get(bug, ()) if each.site == mutant.site), {})
            caught = judge.judged(mutant.files, low_edits)
            done += 1
            progress(f"{done} of {total} mutants: {bug}, {mutant.site}: {caught or 'NOT NOTICED'}")
            yield Outcome(bug, mutant, caught)


def injected(subject: Subject) -> dict[str, list[Mutant]]:
    """All mutants of a program, by class. Twins, which make the same edit, are one."""
    return {name: list(_distinct(bug.inject(subject))) for name, bug in BUGS.items()}


def _distinct(found: Iterable[Mutant]) -> Iterator[Mutant]:
    """Twins come of axes of one size: divided by the size of `ep`, or of `tp`."""
    by_edit: dict[tuple[tuple[str, bytes], ...], list[Mutant]] = {}
    for mutant in found:
        by_edit.setdefault(tuple(sorted(mutant.files.items())), []).append(mutant)
    for first, *twins in by_edit.values():
        yield replace(first, site="; the same edit: ".join(each.site for each in (first, *twins)))


def chosen(found: dict[str, list[Mutant]], seed: int, sites: int) -> dict[str, list[Mutant]]:
    """Up to `sites` of each class that are to be run, and all that are not."""
    kept = {}
    for name, its in found.items():
        run = [mutant for mutant in its if mutant.run]
        drawn = random.Random(f"{seed} {name}").sample(run, min(sites, len(run)))
        kept[name] = [mutant for mutant in its if mutant not in run or mutant in drawn]
    return kept
