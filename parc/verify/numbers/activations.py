"""A program and its model, run side by side with an eye on all that their modules give."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.execution.watchdog import step
from parc.verify.numbers.activation_hooks import Key, Recorder
from parc.verify.numbers.reference import Step, model_of, steps
from parc.verify.numbers.training_step import taken


@dataclass(frozen=True)
class Seen:
    """One step as one device computes it."""

    step: Step
    values: Mapping[Key, Tensor]  # in the order in which the modules give them
    gradients: Mapping[Key, Tensor]  # of the same, in the order in which they are known


def reference(
    plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, paths: Collection[str]
) -> Iterator[Seen]:
    """The first `count` steps of the user's model."""
    model = model_of(plan, recipes)
    recorder = Recorder(model, paths)
    for made in steps(plan, recipes, dataset, count, model):
        yield Seen(made, recorder.values, recorder.gradients)
        recorder.clear()


def observed(
    folder: str,
    dataset: Dataset,
    count: int,
    paths: Collection[str],
    device: str,
    scratch: Path,
    timeout: float,
) -> None:
    """One rank: the same steps of the program, each in a file that `read` understands."""
    sys.path.insert(0, folder)
    import train  # type: ignore[import-not-found]
    from runtime.init import original_names  # type: ignore[import-not-found]

    trainer = train.prepare(dataset, train.parsed(["--data", "unused", "--device", device]), device)
    recorder = Recorder(trainer.stage, paths)
    named = list(original_names(trainer.stage))
    for number in range(count):
        recorder.clear()
        with step(timeout):
            gradients = list[dict[str, Tensor]]()
            look = partial(_look, gradients, named)
            figures = taken(trainer, number, look)
        seen: dict[str, Any] = {
            "stage": trainer.layout.stage,
            "file": Path(sys.modules[type(trainer.stage).__module__].__file__ or "").name,
            "figures": dict(figures),
            "values": [(*key, tensor) for key, tensor in recorder.values.items()],
            "gradients": [(*key, tensor) for key, tensor in recorder.gradients.items()],
            "names": {name: names for name, _, names in named},
            "gradient of parameters": gradients[0],
            "parameters": {name: _held(parameter.detach()) for name, parameter, _ in named},
        }
        torch.save(seen, scratch / f"{torch.distributed.get_rank()}-{number}.pt")


def _look(found: list[dict[str, Tensor]], named: Iterable[tuple[str, Any, Any]]) -> None:
    gradients = {
        name: _held(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
        for name, parameter, _ in named
    }
    found.append(gradients)


def read(scratch: Path, rank: int, step: int) -> dict[str, Any]:
    """What `observed` has written of a rank's step; `values` and `gradients` by `Key`."""
    seen: dict[str, Any] = torch.load(scratch / f"{rank}-{step}.pt", weights_only=True)
    for kind in ("values", "gradients"):
        seen[kind] = {Key(*key): tensor for *key, tensor in seen[kind]}
    return seen


def _held(tensor: Any) -> Tensor:
    """This rank's shard, with memory of its own."""
    local: Tensor = tensor.to_local()
    return local.to("cpu", copy=True)
