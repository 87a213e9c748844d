"""Runs a program and its model with all activations, gradients and parameters kept, to be compared."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.datasets import Dataset
from parc.verify.execution.trainer import list_parameters, load_trainer, run_step
from parc.verify.numbers.activation_hooks import ActivationHooks, ActivationKey
from parc.verify.numbers.reference import ReferenceStep, build_model, train_reference


@dataclass(frozen=True)
class ReferenceActivations:
    """One step of the model on one device."""

    step: ReferenceStep
    outputs: Mapping[ActivationKey, Tensor]  # in the order of the forward pass
    gradients: Mapping[ActivationKey, Tensor]  # of the outputs, in the order of the backward pass


@dataclass(frozen=True)
class RankActivations:
    """One step of one rank of the program: shards, as this rank holds them."""

    stage: int
    module: str  # the file that defines the stage
    figures: Mapping[str, float]
    outputs: Mapping[ActivationKey, Tensor]
    gradients: Mapping[ActivationKey, Tensor]
    originals: Mapping[str, tuple[str, ...]]  # of each parameter: its names in the user's model
    parameter_gradients: Mapping[str, Tensor]  # before clipping
    parameters: Mapping[str, Tensor]  # after the update


def run_reference(
    plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, paths: Collection[str]
) -> Iterator[ReferenceActivations]:
    """The first `count` steps of the model. Modules at `paths` are kept."""
    model = build_model(plan, recipes)
    hooks = ActivationHooks(model, paths)
    for step in train_reference(plan, recipes, dataset, count, model):
        yield ReferenceActivations(step, hooks.outputs, hooks.gradients)
        hooks.clear()


def run_rank(folder: Path, dataset: Dataset, count: int, paths: Collection[str]) -> list[RankActivations]:
    """The same steps of the program in `folder`, on this rank."""
    trainer = load_trainer(folder, dataset, "cpu")
    hooks = ActivationHooks(trainer.stage, paths)
    return [_run_step(trainer, hooks, number) for number in range(count)]


def _run_step(trainer: Any, hooks: ActivationHooks, number: int) -> RankActivations:
    hooks.clear()
    gradients: dict[str, Tensor] = {}
    figures = run_step(trainer, number, lambda: gradients.update(_copy_parameters(trainer, gradient=True)))
    return RankActivations(
        stage=trainer.topology.stage,
        module=Path(sys.modules[type(trainer.stage).__module__].__file__ or "").name,
        figures=figures,
        outputs=hooks.outputs,
        gradients=hooks.gradients,
        originals={each.name: each.originals for each in list_parameters(trainer)},
        parameter_gradients=gradients,
        parameters=_copy_parameters(trainer, gradient=False),
    )


def _copy_parameters(trainer: Any, *, gradient: bool) -> dict[str, Tensor]:
    """Every parameter's shard, or that of its gradient, which is zero where it is missing."""
    return {each.name: each.read(gradient=gradient).clone() for each in list_parameters(trainer)}
