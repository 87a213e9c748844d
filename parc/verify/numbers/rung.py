"""The second rung: what a program computes in float64 is what the model on one device computes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter

from parc.runtime.data import Dataset
from parc.verify.numbers.compare import Difference, compare, expected
from parc.verify.numbers.divergence import STEPS, first_difference
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.numbers.training_step import FIGURES
from parc.verify.report import Rung
from parc.verify.sample.compile import Trial


def equal(trial: Trial, folder: Path, dataset: Dataset, timeout: float) -> Rung:
    """Runs `STEPS` steps of the program in `folder`, which may be edited, and of its model.

    `trial` computes in float64. `timeout` is of a step, in seconds. Raises Stopped where the program does
    not run to its end.
    """
    start = perf_counter()
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        reference = Path(scratch) / "reference.pt"
        expected(trial.plan, trial.captured.loaded.recipes, dataset, STEPS, reference)
        found = compare(trial.plan.mesh.size, folder, dataset, reference, STEPS, timeout)
    compared = tuple(_said(found))
    if found[0].error <= TOLERANCE:
        return Rung("numbers", "proved", compared, (), perf_counter() - start)
    first = first_difference(trial, folder, dataset, timeout)
    return Rung("numbers", "refuted", compared, (first,), perf_counter() - start)


def _said(found: Sequence[Difference]) -> Iterator[str]:
    """How close each kind of quantity comes; `found` has the largest difference first."""
    kinds: dict[str, list[Difference]] = {}
    for each in found:
        kinds.setdefault(_kind(each.what), []).append(each)
    for kind in sorted(kinds, key=list(_KINDS).index):
        worst = kinds[kind][0]
        count = len({each.what for each in kinds[kind]})
        named = f"{count} {kind}" if _KINDS[kind] else kind
        where = f", of `{worst.what.removeprefix('gradient of ')}`" if _KINDS[kind] else ""
        yield f"{named}: at most {worst.error:.1e} apart in {STEPS} steps{where}"


_KINDS = {**dict.fromkeys(FIGURES.values(), False), "gradients": True, "parameters": True}


def _kind(what: str) -> str:
    return what if what in _KINDS else ("gradients" if what.startswith("gradient of ") else "parameters")
