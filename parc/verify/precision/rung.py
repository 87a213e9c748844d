"""The rungs `fp32` and `bf16`: the program in low precision against the model in float64.

The layout is proved in float64. These rungs run what float64 does not: the fused products of experts, and the
arithmetic of the type that is trained in.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from parc.emit.scratch import make_temporary
from parc.plan.blocks import Plan
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import FIGURES
from parc.verify.numbers.compare import Deviation, count_parameters, group_by_kind
from parc.verify.precision.compare_rank import RankReport, compare_rank
from parc.verify.precision.kept_types import describe_kept_types
from parc.verify.precision.replay_routing import list_choice_states
from parc.verify.precision.rounding_bounds import ReferenceRuns
from parc.verify.report import NotProvable, Rung, RungFinding, RungVerdict, format_ranks
from parc.verify.sample.sample import SampleRun
from parc.verify.source_lines import Location, find_edit

FINDINGS = 3  # that are reported, the worst first


def prove_precision(run: SampleRun) -> Rung:
    """Runs one step of a program that computes in float32 or bfloat16.

    Raises RunFailed where the program does not run to its end, NotProvable where there are too few GPUs.
    """
    plan, model = run.sample.plan, run.sample.captured
    if run.device == "cuda":
        _check_gpus(plan.mesh.size)
    states = list_choice_states(run.sample.program)
    paths = {path for path, _ in states}
    with make_temporary() as scratch:
        file = scratch / "bounds.pt"
        run_in_subprocess(lambda: torch.save(ReferenceRuns(run.reference, paths).measure_bounds(), file))
        reports = run.run_ranks(compare_rank, run.device, states, plan, model.kept, model.kept_modules, file)
    edit = find_edit(run.sample.files, run.folder)
    return _judge(plan, reports, edit)


def _check_gpus(world: int) -> None:
    if (gpus := torch.cuda.device_count()) < world:
        raise NotProvable(f"{world} ranks need a GPU each and this machine has {gpus}")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        reason = "CUDA is in use in this process already, perhaps because the model's file uses it on import"
        raise NotProvable(f"{reason}: the ranks, which are forked from it, could not use it")


def _judge(plan: Plan, reports: Sequence[RankReport], edit: Location) -> Rung:
    deviations = sorted(
        (each for report in reports for each in report.deviations), key=lambda each: -each.used
    )
    compared = (*_describe(deviations), describe_kept_types(plan), *_describe_routing(reports))
    exceeded: dict[str, list[Deviation]] = defaultdict(list)  # by quantity, the worst first
    for each in deviations:
        if each.used > 1:
            exceeded[each.what].append(each)
    wrong_types = dict.fromkeys(each for report in reports for each in report.wrong_types)
    findings = [RungFinding(each, (), *edit) for each in islice(wrong_types, FINDINGS)]
    for worst, *others in islice(exceeded.values(), FINDINGS):
        ranks = format_ranks({each.rank for each in (worst, *others)})
        excess = f"is off by {worst.error:.1e} on {ranks}: rounding allows {worst.bound:.1e}"
        findings.append(RungFinding(f"{worst.what} {excess}", (), *edit))
    verdict: RungVerdict = "refuted" if findings else "proved"
    return Rung(plan.train.precision.compute, verdict, compared, tuple(findings))


def _describe(deviations: Sequence[Deviation]) -> Iterator[str]:
    """How much of the bounds is used. `deviations` has the worst first."""
    count = count_parameters(deviations)
    yield f"{count} gradients and parameters, and {len(FIGURES)} figures, of one step against float64"
    for kind, (worst, *_) in group_by_kind(deviations).items():
        error = f"{worst.error:.1e} of {worst.bound:.1e}"
        of = f": {worst.what}" if worst.user_names else ""
        yield f"{kind}: at most {worst.used:.2f} of what rounding allows, {error}{of}"


def _describe_routing(reports: Sequence[RankReport]) -> Iterator[str]:
    if choices := sum(report.choices for report in reports):
        flips = sum(report.flips for report in reports)
        yield f"routing of the reference replayed: {flips} of {choices} choices would differ"
        fused = any(report.fused for report in reports)
        yield f"the experts' products are {'fused' if fused else 'loops: rows are no multiples of 16 bytes'}"
