"""The emitted program under real processes, against the reference: every gradient and every parameter."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
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


def compare(
    plan: Plan, recipes: Mapping[str, Recipe], folder: Path, dataset: Dataset, count: int = 3
) -> list[Difference]:
    """All differences, largest first. Raises `RankFailed` where the program does not run to its end."""
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        reference = list(steps(plan, recipes, dataset, count))
        saved = Path(scratch) / "reference.pt"
        torch.save([_plain(step) for step in reference], saved)
        spawn(plan.mesh.size, _rank, str(folder), saved, dataset, count, Path(scratch))
        found = [
            Difference(**entry)
            for file in Path(scratch).glob("rank-*.json")
            for entry in json.loads(file.read_text())
        ]
    return sorted(found, key=lambda difference: -difference.error)


def _plain(step: Step) -> dict[str, Any]:
    return {
        "loss": step.loss,
        "balance": step.balance,
        "norm": step.norm,
        "gradients": dict(step.gradients),
        "parameters": dict(step.parameters),
    }


def _rank(folder: str, saved: Path, dataset: Dataset, count: int, scratch: Path) -> None:
    """One rank: runs the program's own trainer, and compares its shards with its share of the reference."""
    sys.path.insert(0, folder)
    import train  # type: ignore[import-not-found]

    reference = torch.load(saved, weights_only=True, mmap=True)
    trainer = train.prepare(dataset, train.parsed(["--data", "unused", "--device", "cpu"]), "cpu")
    rank = torch.distributed.get_rank()
    found: list[dict[str, Any]] = []
    for step, expected in zip(range(count), reference, strict=True):
        loss, balance = trainer.gradients(step)
        floor = FLOOR * max(float(g.abs().max()) for g in expected["gradients"].values())
        found += _compared(trainer, expected["gradients"], "gradient of ", step, rank, floor)
        norm = trainer.update(step)
        for what, mine in (("loss", loss), ("balance", balance), ("norm", norm)):
            found.append(
                _difference(what, step, rank, torch.tensor([mine]), torch.tensor([expected[what]]), 1e-12)
            )
        found += _compared(trainer, expected["parameters"], "", step, rank, 1e-12)
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
        found.append(_difference(kind + name, step, rank, local, share(parameter, whole), floor))
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
