"""The rung `numbers`: in float64, the program computes what the model on one device computes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from parc.capture.source_lines import Line
from parc.emit.scratch import make_temporary
from parc.verify.functions.check import CHECKED
from parc.verify.numbers.compare import (
    FUNCTION,
    GRADIENT,
    Deviation,
    compare_program,
    count_parameters,
    group_by_kind,
    save_reference,
)
from parc.verify.numbers.divergence import STEPS, locate_divergence
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.report import Rung, RungFinding, format_ranks
from parc.verify.sample.sample import SampleRun

SHOWN = 4  # lines with casts that are listed


def prove_numbers(run: SampleRun) -> Rung:
    """Runs `STEPS` steps of a program, which computes in float64, and of its model.

    Raises RunFailed where the program does not run to its end.
    """
    with make_temporary() as scratch:
        reference = scratch / "reference.pt"
        save_reference(run.reference, STEPS, reference)
        found = compare_program(run, reference)
    compared = (*_describe(found), *describe_casts(run.sample.captured.promoted))
    if found[0].used <= 1:
        return Rung("numbers", "proved", (*compared, f"beyond these steps, as functions: {CHECKED}"))
    if found[0].what.startswith(FUNCTION):
        wrong = [each for each in found if each.what.startswith(FUNCTION)]
        return Rung("numbers", "refuted", compared, tuple(_describe_faults(wrong)))
    return Rung("numbers", "refuted", compared, (locate_divergence(run),))


def describe_casts(lines: Sequence[Line]) -> Iterator[str]:
    """A line where casts of the model are not what they are in training."""
    if lines:
        listed = ", ".join(f"{line.file.name}:{line.number}" for line in lines[:SHOWN])
        others = ", .." * (len(lines) > SHOWN)
        yield (
            f"casts of the model to less are casts to float64 here, in the program and in the model: "
            f"{listed}{others}; the runs in other types leave them as they are"
        )


def _describe_faults(found: Sequence[Deviation]) -> Iterator[RungFinding]:
    """A finding for each fault of a function, with the ranks that have it."""
    ranks: dict[str, list[int]] = defaultdict(list)
    for each in found:
        ranks[each.what.removeprefix(FUNCTION)].append(each.rank)
    for what, on in ranks.items():
        yield RungFinding(f"{what} (on {format_ranks(on)})")


def _describe(found: Sequence[Deviation]) -> Iterator[str]:
    """A line for each figure, for gradients and for parameters. `found` has the largest error first."""
    for kind, deviations in group_by_kind(found).items():
        worst = deviations[0]
        line = f"at most {worst.used * TOLERANCE:.1e} apart in {STEPS} steps"
        if count := count_parameters(deviations):
            yield f"{count} {kind}: {line}, of `{worst.what.removeprefix(GRADIENT)}`"
        else:
            yield f"{kind}: {line}"
