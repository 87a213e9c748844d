"""The rung `mutants`: whether the other rungs would detect the bugs that other frameworks have had."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from parc.emit.scratch import make_temporary
from parc.runtime.data.datasets import Dataset
from parc.verify.mutants import bugs  # noqa: F401 - registers them
from parc.verify.mutants.outcome import Outcome, format_table, list_reasons
from parc.verify.mutants.registry import BUGS
from parc.verify.mutants.runner import MutantRunner
from parc.verify.mutants.target import Mutant, MutationTarget
from parc.verify.report import NotProvable, Rung, RungFinding
from parc.verify.sample.sample import Sample

SITES = 2  # of a class, drawn where there are more
TIMEOUT = 60.0  # seconds that a mutant may take at least


def prove_mutants(outcomes: Sequence[Outcome]) -> Rung:
    """The rung of mutants that have been run. A mutant that survived refutes it."""
    survivors = [each for each in outcomes if each.survived]
    findings = tuple(RungFinding(f"not detected: {each.bug}, {each.mutant.site}") for each in survivors)
    lines = (*format_table(outcomes), *list_reasons(outcomes))
    return Rung("mutants", "refuted" if findings else "proved", lines, findings)


def run_mutants(
    sample: Sample,
    low: Sample | None,
    dataset: Dataset,
    *,
    seed: int = 0,
    sites: int = SITES,
    progress: Callable[[str], None],
) -> Iterator[Outcome]:
    """The outcome of up to `sites` mutants of each class, drawn by `seed`.

    `sample` computes in float64. `low` is the same plan in float32 or bfloat16, where it can be built.
    `progress` is called with a line for each mutant that has been run. Raises NotProvable where the rungs
    refute the program itself.
    """
    with make_temporary() as scratch:
        runner = MutantRunner(sample, low, dataset, scratch, timeout=TIMEOUT)
        if alarm := runner.check_original():
            raise NotProvable(f"the rungs refute the program itself: {alarm}")
        low_mutants = inject_bugs(MutationTarget(low)) if low else {}
        found = draw_mutants(inject_bugs(runner.describe_target()), seed, sites)
        total = sum(mutant.run for mutants in found.values() for mutant in mutants)
        done = 0
        for bug, mutant in ((bug, mutant) for bug, mutants in found.items() for mutant in mutants):
            if not mutant.run:
                yield Outcome(bug, mutant, None)
                continue
            low_edits = next(
                (each.files for each in low_mutants.get(bug, ()) if each.site == mutant.site), {}
            )
            detection = runner.detect(mutant.files, low_edits)
            done += 1
            progress(f"{done} of {total} mutants: {bug}, {mutant.site}: {detection or 'NOT DETECTED'}")
            yield Outcome(bug, mutant, detection)


def inject_bugs(target: MutationTarget) -> dict[str, list[Mutant]]:
    """All mutants of a program, by class. Mutants with the same edit are one."""
    return {name: list(_join_duplicates(bug(target))) for name, bug in BUGS.items()}


def _join_duplicates(found: Iterable[Mutant]) -> Iterator[Mutant]:
    """Axes of one size make the same edit: a division by the size of `ep`, or of `tp`."""
    by_edit: dict[tuple[tuple[str, bytes], ...], list[Mutant]] = {}
    for mutant in found:
        by_edit.setdefault(tuple(sorted(mutant.files.items())), []).append(mutant)
    for same in by_edit.values():
        yield replace(same[0], site="; the same edit: ".join(each.site for each in same))


def draw_mutants(found: dict[str, list[Mutant]], seed: int, sites: int) -> dict[str, list[Mutant]]:
    """Up to `sites` mutants of each class that are to be run, and all that are not."""
    kept = {}
    for name, mutants in found.items():
        run = [mutant for mutant in mutants if mutant.run]
        drawn = random.Random(f"{seed} {name}").sample(run, min(sites, len(run)))
        kept[name] = [mutant for mutant in mutants if mutant not in run or mutant in drawn]
    return kept
