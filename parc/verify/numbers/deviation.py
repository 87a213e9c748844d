"""Compares a step of one rank with the reference: how much of its bound the error of each quantity uses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from parc.verify.execution.trainer import FIGURES, list_parameters, run_step
from parc.verify.numbers.reference import ReferenceStep

GRADIENT = "gradient of "


@dataclass(frozen=True)
class Deviation:
    """A quantity of one rank and step: its entry that uses most of its bound. `used` is error / bound.

    `what` is a figure ("loss"), "gradient of NAME", or NAME for a parameter. `originals` are the names of the
    parameter in the user's model.
    """

    what: str
    originals: tuple[str, ...]
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
        for parameter in list_parameters(trainer):
            worst = (math.inf, 0.0, math.inf)
            if all(name in whole for name in parameter.originals):
                share = parameter.select_share(whole)
                bound = expected.bound_parameter(parameter, share, gradient=gradient)
                worst = _find_worst_entry(parameter.read(gradient=gradient).double(), share, bound)
            what = f"{GRADIENT if gradient else ''}{parameter.name}"
            yield Deviation(what, parameter.originals, number, rank, *worst)

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
        kind = "gradients" if each.what.startswith(GRADIENT) else "parameters"
        kinds[kind if each.originals else each.what].append(each)
    return kinds


def count_originals(deviations: Iterable[Deviation]) -> int:
    """The number of the model's parameters that deviations are of."""
    return len({name for each in deviations for name in each.originals})


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
