"""Compares an emitted program, run on real processes, with the reference: every gradient and parameter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from parc.capture.initializers import Recipe
from parc.plan.blocks import Plan
from parc.runtime.datasets import Dataset
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import list_parameters, load_trainer, run_step
from parc.verify.execution.watchdog import run_ranks
from parc.verify.numbers.reference import ReferenceStep, train_reference
from parc.verify.numbers.tolerance import compare_figures, compare_tensors

GRADIENT = "gradient of "


@dataclass(frozen=True)
class Deviation:
    """How far a quantity of one rank and step is from the reference, relative to its size.

    `what` is a figure ("loss"), "gradient of NAME", or NAME for a parameter.
    """

    what: str
    step: int
    rank: int
    error: float


def save_reference(
    plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, file: Path
) -> None:
    """Saves the first `count` steps of the model on one device. Every rank maps the file into its memory."""
    run_in_subprocess(partial(_save_reference, plan, recipes, dataset, count, file))


def _save_reference(
    plan: Plan, recipes: Mapping[str, Recipe], dataset: Dataset, count: int, file: Path
) -> None:
    torch.save(list(train_reference(plan, recipes, dataset, count)), file)


def load_reference(file: Path) -> list[ReferenceStep]:
    """The steps in a file of `save_reference`, mapped into memory."""
    steps: list[ReferenceStep] = torch.load(file, weights_only=False, mmap=True)
    return steps


def compare_program(
    world: int, folder: Path, dataset: Dataset, file: Path, count: int = 3, timeout: float = 600.0
) -> list[Deviation]:
    """All deviations of the program in `folder` from the reference in `file`, the largest first.

    `timeout` is that of a step, in seconds. Raises Stopped where the program does not run to its end.
    """
    arguments = (folder, file, dataset, count)
    found = [
        each for rank in run_ranks(world, folder, compare_rank, *arguments, timeout=timeout) for each in rank
    ]
    compared = {each.what for each in found}
    expected = [kind + name for name in load_reference(file)[0].parameters for kind in (GRADIENT, "")]
    found += [Deviation(what, 0, 0, math.inf) for what in expected if what not in compared]
    return sorted(found, key=lambda each: -each.error)


def compare_rank(folder: Path, file: Path, dataset: Dataset, count: int) -> list[Deviation]:
    """The deviations of this rank, on the CPU, from its share of the reference."""
    trainer, rank = load_trainer(folder, dataset, "cpu"), torch.distributed.get_rank()
    return [
        Deviation(what, number, rank, error)
        for number, expected in zip(range(count), load_reference(file), strict=True)
        for what, error in _compare_step(trainer, number, expected).items()
    ]


def _compare_step(trainer: Any, number: int, expected: ReferenceStep) -> dict[str, float]:
    """The error of each quantity."""
    errors: dict[str, float] = {}
    figures = run_step(
        trainer, number, lambda: errors.update(_compare_parameters(trainer, expected, GRADIENT))
    )
    errors |= {
        name: compare_figures(figures[name], wanted).error for name, wanted in expected.figures.items()
    }
    return errors | _compare_parameters(trainer, expected, "")


def _compare_parameters(trainer: Any, expected: ReferenceStep, kind: str) -> dict[str, float]:
    """The errors of all gradients or parameters. Those that the model or the rank lacks are infinite."""
    whole = expected.gradients if kind else expected.parameters
    floor = expected.gradient_floor if kind else expected.parameter_floor
    errors: dict[str, float] = {}
    for parameter in list_parameters(trainer):
        missing = kind and not parameter.has_gradient
        error = math.inf
        if not missing and all(name in whole for name in parameter.originals):
            shard, share = parameter.read(gradient=bool(kind)), parameter.select_share(whole)
            error = compare_tensors(shard, share, floor).error
        errors |= {kind + name: error for name in parameter.originals}
    return errors
