"""The rung `numbers`: in float64, the program computes what the model on one device computes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from parc.runtime.datasets import Dataset
from parc.verify.execution.trainer import FIGURES
from parc.verify.numbers.compare import GRADIENT, Deviation, compare_program, save_reference
from parc.verify.numbers.divergence import STEPS, locate_divergence
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.report import Rung
from parc.verify.sample.compile import Sample


def prove_numbers(sample: Sample, folder: Path, dataset: Dataset, timeout: float) -> Rung:
    """Runs `STEPS` steps of the program in `folder`, which may be edited, and of its model.

    `sample` computes in float64. `timeout` is that of a step, in seconds. Raises Stopped where the program
    does not run to its end.
    """
    plan = sample.plan
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        reference = Path(scratch) / "reference.pt"
        save_reference(plan, sample.captured.recipes, dataset, STEPS, reference)
        found = compare_program(plan.mesh.size, folder, dataset, reference, STEPS, timeout)
    compared = tuple(_describe(found))
    if found[0].error <= TOLERANCE:
        return Rung("numbers", "proved", compared)
    return Rung("numbers", "refuted", compared, (locate_divergence(sample, folder, dataset, timeout),))


def _describe(found: Sequence[Deviation]) -> Iterator[str]:
    """A line for each figure, for gradients and for parameters. `found` has the largest error first."""
    figures = list(FIGURES.values())
    kinds: dict[str, list[Deviation]] = {kind: [] for kind in (*figures, "gradients", "parameters")}
    for each in found:
        other = "gradients" if each.what.startswith(GRADIENT) else "parameters"
        kinds[each.what if each.what in figures else other].append(each)
    for kind, deviations in kinds.items():
        worst = f"at most {deviations[0].error:.1e} apart in {STEPS} steps"
        if kind in figures:
            yield f"{kind}: {worst}"
        else:
            count = len({each.what for each in deviations})
            yield f"{count} {kind}: {worst}, of `{deviations[0].what.removeprefix(GRADIENT)}`"
