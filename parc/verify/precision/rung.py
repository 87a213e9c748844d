"""The rungs `fp32` and `bf16`: the program in low precision against the model in float64.

The layout is proved in float64. These rungs run what float64 does not: the fused products of experts, and the
arithmetic of the type that is trained in.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.datasets import Dataset
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import FIGURES
from parc.verify.execution.watchdog import run_ranks
from parc.verify.numbers.compare import GRADIENT
from parc.verify.precision.compare_rank import BoundedError, RankReport, compare_rank
from parc.verify.precision.replay_routing import list_choice_states
from parc.verify.precision.rounding_bounds import measure_bounds
from parc.verify.report import NotProvable, Rung, RungFinding, format_ranks
from parc.verify.sample.compile import Sample
from parc.verify.source_lines import Location, find_edit

FINDINGS = 3  # that are reported, the worst first


def prove_precision(
    sample: Sample, folder: Path, dataset: Dataset, precision: str, timeout: float, device: str
) -> Rung:
    """One step of the program in `folder`, that of a sample compiled in `precision`: "fp32" or "bf16".

    `timeout` is that of the step, in seconds. Raises Stopped where the program does not run to its end,
    NotProvable where `device` is "cuda" and there are too few GPUs for the ranks.
    """
    plan, world = sample.plan, sample.plan.mesh.size
    assert plan.train.precision.compute == precision
    if device == "cuda":
        _check_gpus(world)
    states = list_choice_states(sample.program)
    recipes, paths = sample.captured.recipes, {path for path, _ in states}
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        file = Path(scratch) / "bounds.pt"
        run_in_subprocess(partial(_save_bounds, plan, recipes, dataset, paths, file))
        arguments = (folder, dataset, states, plan, device, file)
        reports = run_ranks(world, folder, compare_rank, *arguments, device=device, timeout=timeout)
    return _judge(precision, reports, find_edit(sample.files, folder))


def _check_gpus(world: int) -> None:
    if (gpus := torch.cuda.device_count()) < world:
        raise NotProvable(f"{world} ranks need a GPU each and this machine has {gpus}")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        reason = "CUDA is in use in this process already, perhaps because the model's file uses it on import"
        raise NotProvable(f"{reason}: the ranks, which are forked from it, could not use it")


def _save_bounds(
    plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, paths: Collection[str], file: Path
) -> None:
    torch.save(measure_bounds(plan, recipes, dataset, paths), file)


def _judge(precision: str, reports: Sequence[RankReport], edit: Location) -> Rung:
    errors = sorted((each for report in reports for each in report.errors), key=lambda each: -each.used)
    compared = tuple(_describe(errors, reports))
    exceeded: dict[str, list[BoundedError]] = defaultdict(list)  # by quantity, the worst first
    for each in errors:
        if each.used > 1:
            exceeded[each.what].append(each)
    findings = [RungFinding(_describe_excess(worst), (), *edit) for worst in exceeded.values()]
    return Rung(precision, "refuted" if exceeded else "proved", compared, tuple(findings[:FINDINGS]))


def _describe(errors: Sequence[BoundedError], reports: Sequence[RankReport]) -> list[str]:
    """How much of the bounds is used. `errors` has the worst first."""
    kinds: dict[str, list[BoundedError]] = defaultdict(list)
    for each in errors:
        other = "gradient" if each.what.startswith(GRADIENT) else "parameter"
        kinds["figure" if each.what in FIGURES.values() else other].append(each)
    count = len({each.what for each in kinds["gradient"]})
    lines = [f"{count} gradients and parameters, and {len(FIGURES)} figures, of one step against float64"]
    for kind, (worst, *_) in sorted(kinds.items()):
        error = f"{worst.error:.1e} of {worst.bound:.1e}"
        lines.append(f"{kind}s: at most {worst.used:.2f} of what rounding allows, {error}: {worst.what}")
    if choices := sum(report.choices for report in reports):
        flips = sum(report.flips for report in reports)
        fused = any(report.fused for report in reports)
        how = "fused" if fused else "loops: rows are no multiples of 16 bytes"
        lines.append(f"routing of the reference replayed: {flips} of {choices} choices would differ")
        lines.append(f"the experts' products are {how}")
    return lines


def _describe_excess(errors: Sequence[BoundedError]) -> str:
    worst, ranks = errors[0], format_ranks({each.rank for each in errors})
    return f"{worst.what} is off by {worst.error:.1e} on {ranks}: rounding allows {worst.bound:.1e}"
