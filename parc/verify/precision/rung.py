"""The program in float32 or bfloat16 against the model in float64.

What float64 proves of the layout is not proved again. This rung runs what float64 cannot: the fused products
of experts, and the arithmetic in the type that is trained in.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.execution.subprocess import apart
from parc.verify.execution.watchdog import run
from parc.verify.numbers.describe_divergence import Edit, edited
from parc.verify.numbers.shards import compressed
from parc.verify.numbers.training_step import FIGURES
from parc.verify.precision.compare_rank import Said, Strain, strained
from parc.verify.precision.replay_routing import chosen_states
from parc.verify.precision.rounding_bounds import Allowed, allowed
from parc.verify.report import Finding, NotProvable, Rung
from parc.verify.sample.compile import Trial

FOUND = 3  # findings that are shown, the worst first


def lowered(
    trial: Trial, folder: Path, dataset: Dataset, precision: str, timeout: float, device: str
) -> Rung:
    """One step of the program in `folder`, that of a trial compiled in `precision`: "fp32" or "bf16".

    `timeout` is of a step, in seconds. Raises Stopped where the program does not run to its end, NotProvable
    where `device` is "cuda" and there are not GPUs for all ranks.
    """
    plan, world = trial.plan, trial.plan.mesh.size
    assert plan.train.precision.compute == precision
    if device == "cuda":
        _check_gpus(world)
    states = chosen_states(trial.program)
    recipes = trial.captured.loaded.recipes
    paths = {path for path, _ in states}
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        apart(partial(_save, plan, recipes, dataset, paths, Path(scratch) / "limits.pt"))
        arguments = (str(folder), dataset, states, plan, device, Path(scratch), timeout)
        run(world, folder, strained, *arguments, device=device, timeout=timeout)
        said = [Said.read(Path(scratch) / f"{rank}.json") for rank in range(world)]
    return _judged(precision, said, edited(trial.files, folder))


def _check_gpus(world: int) -> None:
    if (gpus := torch.cuda.device_count()) < world:
        raise NotProvable(f"{world} ranks need a GPU each and this machine has {gpus}")
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        reason = "CUDA is in use in this process already, by the model's file perhaps as it was imported"
        raise NotProvable(f"{reason}: the ranks, which are forked from it, could not use it")


def _save(plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, paths: set[str], file: Path) -> None:
    torch.save(_plain(allowed(plan, recipes, dataset, paths)), file)


def _plain(limits: Allowed) -> dict[str, Any]:
    return {
        "choices": [(*choice, indices) for choice, indices in limits.choices.items()],
        "figures": {name: (wanted, limits.figures[name]) for name, wanted in limits.step.figures.items()},
        "gradient of ": dict(limits.step.gradients),
        "": dict(limits.step.parameters),
        "allowed gradient of ": {
            name: torch.full_like(whole, limits.gradients[name])
            for name, whole in limits.step.gradients.items()
        },
        "allowed ": dict(limits.parameters),
    }


def _judged(precision: str, said: Sequence[Said], edit: Edit) -> Rung:
    strains = sorted((strain for one in said for strain in one.strains), key=lambda each: -each.strain)
    kinds: dict[str, list[Strain]] = defaultdict(list)  # the worst first
    for strain in strains:
        kinds[_kind(strain)].append(strain)
    count = len({strain.what for strain in kinds["gradient"]})
    compared = [f"{count} gradients and parameters, and {len(FIGURES)} figures, of one step against float64"]
    compared += [f"{kind}s: {_worst(found[0])}" for kind, found in sorted(kinds.items())]
    if choices := sum(one.choices for one in said):
        flips = sum(one.flips for one in said)
        fused = "fused" if any(one.fused for one in said) else "loops: rows are no multiples of 16 bytes"
        compared.append(f"routing of the reference replayed: {flips} of {choices} choices would be others")
        compared.append(f"the experts' products are {fused}")
    over: dict[str, list[Strain]] = defaultdict(list)
    for strain in strains:
        if strain.strain > 1:
            over[strain.what].append(strain)
    findings = [Finding(_said(worse), (), *edit) for worse in over.values()][:FOUND]
    return Rung(precision, "refuted" if over else "proved", tuple(compared), tuple(findings))


def _kind(strain: Strain) -> str:
    if strain.what in FIGURES.values():
        return "figure"
    return "gradient" if strain.what.startswith("gradient of ") else "parameter"


def _worst(strain: Strain) -> str:
    error = f"{strain.error:.1e} of {strain.allowed:.1e}"
    return f"at most {strain.strain:.2f} of what rounding allows, {error}: {strain.what}"


def _said(worse: Sequence[Strain]) -> str:
    ranks = compressed(sorted({strain.rank for strain in worse}))
    most = worse[0]
    return f"{most.what} is off by {most.error:.1e} on ranks {ranks}: rounding allows {most.allowed:.1e}"
