"""The emitted program under real processes, against the reference: every gradient and every parameter."""

from __future__ import annotations

import json
import math
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.execution.subprocess import apart
from parc.verify.execution.watchdog import run, step
from parc.verify.numbers.reference import Step, steps
from parc.verify.numbers.tolerance import gap
from parc.verify.numbers.training_step import FIGURES, taken

FLOOR = 1e-6  # of the largest gradient: below it a gradient is zero but for rounding


@dataclass(frozen=True)
class Difference:
    """The largest difference of one quantity over all ranks and steps, relative to its size."""

    what: str  # "loss", "gradient norm", "gradient of NAME", "NAME"
    step: int
    rank: int
    error: float


def expected(plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, file: Path) -> None:
    """Saves the first `count` steps of the model on one device, for every rank to map into its memory."""
    apart(partial(_save, plan, recipes, dataset, count, file))


def _save(plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, file: Path) -> None:
    torch.save([_plain(step) for step in steps(plan, recipes, dataset, count)], file)


def compare(
    world: int,
    folder: Path,
    dataset: Dataset,
    file: Path,
    count: int = 3,
    timeout: float = 600.0,
) -> list[Difference]:
    """All differences of the program in `folder` from the steps in `file`, largest first.

    `timeout` is of a step, in seconds. Raises Stopped where the program does not run to its end.
    """
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        arguments = (str(folder), file, dataset, count, Path(scratch), timeout)
        run(world, folder, ranked, *arguments, timeout=timeout)
        found = differences(Path(scratch))
    left_out = _left_out(file, {difference.what for difference in found})
    return sorted(found + left_out, key=lambda difference: -difference.error)


def differences(scratch: Path) -> list[Difference]:
    """What all ranks have written into a folder, largest first."""
    texts = (said.read_text() for said in scratch.glob("rank-*.json"))
    found = [Difference(**entry) for text in texts for entry in json.loads(text)]
    return sorted(found, key=lambda difference: -difference.error)


def _left_out(file: Path, compared: set[str]) -> list[Difference]:
    """What the model has and no rank."""
    names = torch.load(file, weights_only=True, mmap=True)[0]["parameters"]
    wanted = [kind + name for name in names for kind in ("gradient of ", "")]
    return [Difference(what, 0, 0, math.inf) for what in wanted if what not in compared]


def _plain(step: Step) -> dict[str, Any]:
    return {
        **step.figures,
        "largest": max(float(gradient.abs().max()) for gradient in step.gradients.values()),
        "gradients": dict(step.gradients),
        "parameters": dict(step.parameters),
        "floor": step.floor,
    }


def ranked(
    folder: str, file: Path, dataset: Dataset, count: int, scratch: Path, timeout: float = 0.0
) -> None:
    """One rank, on the CPU: the program's own trainer; writes how far it is from its share of the reference.

    `timeout` is of a step, in seconds; 0 is for ever.
    """
    sys.path.insert(0, folder)
    import train  # type: ignore[import-not-found]

    reference = torch.load(file, weights_only=True, mmap=True)
    trainer = train.prepare(dataset, train.parsed(["--data", "unused", "--device", "cpu"]), "cpu")
    rank = torch.distributed.get_rank()
    found: list[dict[str, Any]] = []
    for number, wanted in zip(range(count), reference, strict=True):
        with step(timeout):
            look = partial(_look, found, trainer, wanted, number, rank)
            figures = taken(trainer, number, look)
        for what in FIGURES.values():
            mine, its = (torch.tensor(of[what], dtype=torch.float64) for of in (figures, wanted))
            found.append(asdict(Difference(what, number, rank, gap(mine, its, FLOOR**2).error)))
        found += _compared(trainer, wanted["parameters"], "", number, rank, wanted["floor"])
    (scratch / f"rank-{rank}.json").write_text(json.dumps(found))


def _look(
    found: list[dict[str, Any]], trainer: Any, wanted: Mapping[str, Any], number: int, rank: int
) -> None:
    """At the gradients, before they are clipped."""
    floor = FLOOR * wanted["largest"]
    found += _compared(trainer, wanted["gradients"], "gradient of ", number, rank, floor)


def _compared(
    trainer: Any, expected: Mapping[str, Tensor], kind: str, step: int, rank: int, floor: float
) -> list[dict[str, Any]]:
    from runtime.init import original_names  # type: ignore[import-not-found]
    from runtime.parameters import share  # type: ignore[import-not-found]

    found = []
    for name, parameter, names in original_names(trainer.stage):
        if missing := [each for each in names if each not in expected]:
            found.append(asdict(Difference(f"{kind}{missing[0]}", step, rank, math.inf)))
            continue
        mine = parameter.grad if kind else parameter.detach()
        if mine is None:
            found.append(asdict(Difference(kind + name, step, rank, math.inf)))
            continue
        whole = expected[names[0]] if names == (name,) else torch.stack([expected[each] for each in names])
        error = gap(mine.to_local().cpu(), share(parameter, whole), floor).error
        found += [asdict(Difference(kind + each, step, rank, error)) for each in names]
    return found
