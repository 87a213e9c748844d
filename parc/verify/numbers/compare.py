"""Compares a program with the reference: how much of its bound the error of each quantity uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.plan.blocks import Plan
from parc.runtime.data.datasets import Dataset
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import FIGURES, read_shard, run_step, select_known, select_share
from parc.verify.functions.check import check_functions
from parc.verify.numbers.loop import LOOP, run_loop
from parc.verify.numbers.reference import Reference, ReferenceStep
from parc.verify.sample.sample import SampleRun

GRADIENT = "gradient of "
FUNCTION = "function: "


@dataclass(frozen=True)
class Deviation:
    """A quantity of one rank and step: its entry that uses most of its bound. `used` is error / bound.

    `what` is a figure ("loss"), "gradient of NAME", or NAME for a parameter; or "function: .." and what is
    wrong with a function. `user_names` are those of the parameter in the user's model.
    """

    what: str
    user_names: tuple[str, ...]
    step: int
    rank: int
    error: float
    bound: float
    used: float


def compare_step(trainer: Any, number: int, expected: ReferenceStep) -> list[Deviation]:
    """Takes a step; the deviations of its figures, gradients and parameters from the expected ones."""
    found: list[Deviation] = []
    rank = torch.distributed.get_rank()

    def compare_parameters(gradient: bool) -> Iterator[Deviation]:
        whole = expected.gradients if gradient else expected.parameters
        for parameter in trainer.parameters:
            name, user_names = parameter.name, parameter.user_names
            worst = (math.inf, 0.0, math.inf)
            if all(each in whole for each in user_names):
                share = select_share(parameter, whole)
                bound = expected.bound_parameter(parameter, share, gradient=gradient).expand_as(share)
                known = (select_known(parameter, each, gradient=gradient) for each in (share, bound))
                worst = _find_worst_entry(read_shard(parameter, gradient=gradient).double(), *known)
            yield Deviation(f"{GRADIENT if gradient else ''}{name}", user_names, number, rank, *worst)

    figures = run_step(trainer, number, lambda: found.extend(compare_parameters(gradient=True)))
    for name, value in expected.figures.items():
        values = (figures[name], value, expected.bound_figure(name))
        worst = _find_worst_entry(*(torch.tensor([each], dtype=torch.float64) for each in values))
        found.append(Deviation(name, (), number, rank, *worst))
    return [*found, *compare_parameters(gradient=False)]


def group_by_kind(deviations: Iterable[Deviation]) -> dict[str, list[Deviation]]:
    """The deviations of each figure, of "gradients" and of "parameters", in the given order."""
    kinds: dict[str, list[Deviation]] = {kind: [] for kind in (*FIGURES.values(), "gradients", "parameters")}
    for each in deviations:
        if each.what.startswith(FUNCTION):
            continue
        kind = "gradients" if each.what.startswith(GRADIENT) else "parameters"
        kinds[kind if each.user_names else each.what].append(each)
    return kinds


def count_parameters(deviations: Iterable[Deviation]) -> int:
    """The number of the model's parameters that deviations are of."""
    return len({name for each in deviations for name in each.user_names})


def _find_worst_entry(actual: Tensor, expected: Tensor, bound: Tensor) -> tuple[float, float, float]:
    """Error, bound, and their ratio. An exact entry uses nothing, even of a bound of zero."""
    if actual.shape != expected.shape:
        return math.inf, 0.0, math.inf
    if not actual.numel():
        return 0.0, 0.0, 0.0
    error = (actual - expected).abs().flatten()
    bound = bound.expand_as(expected).flatten()
    used = torch.where(error == 0, 0.0, error / bound).nan_to_num(nan=torch.inf)
    at = int(used.argmax())
    return float(error[at]), float(bound[at]), float(used[at])


def save_reference(reference: Reference, count: int, file: Path) -> None:
    """Saves the first `count` steps of the model. Every rank maps the file into its memory."""
    run_in_subprocess(lambda: torch.save(list(reference.train(count)), file))


def load_reference(file: Path) -> list[ReferenceStep]:
    """The steps in a file of `save_reference`, mapped into memory."""
    steps: list[ReferenceStep] = torch.load(file, weights_only=False, mmap=True)
    return steps


def compare_program(run: SampleRun, reference: Path) -> list[Deviation]:
    """All deviations of a program in float64 from the steps in the file `reference`, the worst first.

    Raises RunFailed where the program does not run to its end.
    """
    found = [each for rank in run.run_ranks(compare_rank, reference, run.sample.plan) for each in rank]
    compared = {name for each in found for name in each.user_names}
    left_out = [name for name in load_reference(reference)[0].parameters if name not in compared]
    found += [Deviation(name, (name,), 0, 0, math.inf, 0.0, math.inf) for name in left_out]
    return sorted(found, key=_make_sort_key)


def _make_sort_key(found: Deviation) -> tuple[int, float]:
    """A wrong loop comes first, since it makes numbers wrong; then these, other functions, what agrees."""
    if found.used <= 1:
        return 3, -found.used
    if found.what.startswith(FUNCTION):
        return (0 if found.what.startswith(f"{FUNCTION}{LOOP}") else 2), 0.0
    return 1, -found.used


def compare_rank(folder: Path, dataset: Dataset, reference: Path, plan: Plan) -> list[Deviation]:
    """The deviations of this rank, on the CPU, from its share of the reference.

    The loop of the program itself takes the steps. Its functions are checked afterwards.
    """
    expected, found, rank = load_reference(reference), list[Deviation](), torch.distributed.get_rank()

    def inspect_step(trainer: Any, number: int) -> None:
        step = expected[min(number, len(expected) - 1)]  # a loop that goes too far is a fault of its own
        found.extend(compare_step(trainer, number, step))

    trainer, faults = run_loop(folder, dataset, len(expected), inspect_step)
    faults += check_functions(trainer, plan)
    return found + [Deviation(f"{FUNCTION}{each}", (), 0, rank, math.inf, 0.0, math.inf) for each in faults]
