"""The emitted program under real processes, against the reference: every gradient and every parameter."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.plan.facts import Plan
from parc.runtime.data import Dataset
from parc.runtime.processes import spawn
from parc.shard.initial import Recipe
from parc.verify.reference import Step, steps

FLOOR = 1e-6  # of the largest gradient: below it a gradient is zero but for rounding


@dataclass(frozen=True)
class Difference:
    """The largest difference of one quantity over all ranks and steps, relative to its size."""

    what: str  # "loss", "norm", "gradient of NAME", "NAME"
    step: int
    rank: int
    error: float
    ratio: float  # of the program's value to the reference's, by norm


def expected(plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, file: Path) -> None:
    """Saves the first `count` steps of the model on one device, for every rank to map into its memory."""
    torch.save([_plain(step) for step in steps(plan, recipes, dataset, count)], file)


def compare(
    world: int,
    folder: Path,
    dataset: Dataset,
    file: Path,
    count: int = 3,
    timeout: float = 600.0,
    device: str = "cpu",
) -> list[Difference]:
    """All differences of the program in `folder` from the steps in `file`, largest first.

    `timeout` is of a collective, in seconds. Raises `RankFailed` where the program does not run to its end.
    """
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        arguments = (str(folder), file, dataset, count, device, Path(scratch))
        spawn(world, ranked, *arguments, device=device, timeout=timedelta(seconds=timeout))
        return differences(Path(scratch))


def differences(scratch: Path) -> list[Difference]:
    """What all ranks have written into a folder, largest first."""
    texts = (said.read_text() for said in scratch.glob("rank-*.json"))
    found = [Difference(**entry) for text in texts for entry in json.loads(text)]
    return sorted(found, key=lambda difference: -difference.error)


def _plain(step: Step) -> dict[str, Any]:
    return {
        "loss": step.loss,
        "balance": step.balance,
        "norm": step.norm,
        "largest": max(float(gradient.abs().max()) for gradient in step.gradients.values()),
        "gradients": dict(step.gradients),
        "parameters": dict(step.parameters),
        "floor": step.floor,
    }


def ranked(folder: str, file: Path, dataset: Dataset, count: int, device: str, scratch: Path) -> None:
    """One rank: runs the program's own trainer; writes how far it is from its share of the reference."""
    sys.path.insert(0, folder)
    import train  # type: ignore[import-not-found]

    reference = torch.load(file, weights_only=True, mmap=True)
    trainer = train.prepare(dataset, train.parsed(["--data", "unused", "--device", device]), device)
    rank = torch.distributed.get_rank()
    found: list[dict[str, Any]] = []
    for step, wanted in zip(range(count), reference, strict=True):
        loss, balance = trainer.gradients(step)
        floor = FLOOR * wanted["largest"]
        found += _compared(trainer, wanted["gradients"], "gradient of ", step, rank, floor)
        norm = trainer.update(step)
        for what, mine in (("loss", loss), ("balance", balance), ("norm", norm)):
            pair = torch.tensor([mine, wanted[what]], dtype=torch.float64)
            found.append(_difference(what, step, rank, pair[:1], pair[1:], 1e-12))
        found += _compared(trainer, wanted["parameters"], "", step, rank, wanted["floor"])
    (scratch / f"rank-{rank}.json").write_text(json.dumps(found))


def _compared(
    trainer: Any, expected: Mapping[str, Tensor], kind: str, step: int, rank: int, floor: float
) -> list[dict[str, Any]]:
    from runtime.init import original_names  # type: ignore[import-not-found]
    from runtime.parameters import share  # type: ignore[import-not-found]

    found = []
    for name, parameter, names in original_names(trainer.stage):
        mine = parameter.grad if kind else parameter.detach()
        whole = expected[names[0]] if names == (name,) else torch.stack([expected[each] for each in names])
        local = mine.to_local()
        found.append(_difference(kind + name, step, rank, local.cpu(), share(parameter, whole), floor))
    return found


def _difference(
    what: str, step: int, rank: int, mine: Tensor, expected: Tensor, floor: float
) -> dict[str, Any]:
    size = max(float(expected.abs().max()), floor)
    error = float((mine - expected).abs().max()) / size
    norm = float(expected.norm())
    return {
        "what": what,
        "step": step,
        "rank": rank,
        "error": error if error == error else float("inf"),
        "ratio": float(mine.norm()) / norm if norm else 1.0,
    }
