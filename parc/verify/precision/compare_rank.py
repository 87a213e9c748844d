"""One rank in a step of low precision: routed as the reference was, then compared with its bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from parc.plan.blocks import Plan
from parc.runtime.datasets import Dataset
from parc.verify.execution.trainer import list_parameters, load_trainer, run_step
from parc.verify.numbers.compare import GRADIENT
from parc.verify.numbers.shards import States, select_share
from parc.verify.precision.replay_routing import ChoiceKey, RoutingReplay, Selection, find_flips
from parc.verify.precision.rounding_bounds import RoundingBounds


@dataclass(frozen=True)
class BoundedError:
    """A quantity on one rank: the entry whose error uses most of its bound. `used` is their ratio."""

    what: str
    rank: int
    error: float
    bound: float
    used: float


@dataclass(frozen=True)
class RankReport:
    """What one rank has compared."""

    errors: tuple[BoundedError, ...]
    flips: int  # choices that would differ; a choice that several ranks make counts once
    choices: int
    fused: bool  # whether the products of experts were fused


def compare_rank(
    folder: Path,
    dataset: Dataset,
    states: Mapping[tuple[str, int], States],
    plan: Plan,
    device: str,
    bounds_file: Path,
) -> RankReport:
    """Takes a step of the program in `folder` on this rank, with the choices of the reference.

    `states` are those of the choices, as `list_choice_states` gives them.
    """
    bounds: RoundingBounds = torch.load(bounds_file, weights_only=False, mmap=True)
    trainer, rank = load_trainer(folder, dataset, device), torch.distributed.get_rank()
    routing = RankRouting(bounds.choices, states, rank, plan)
    errors: list[BoundedError] = []
    with (
        RoutingReplay(trainer.stage, {path for path, _ in states}, routing.choose),
        _FusionMonitor() as products,
    ):
        figures = run_step(trainer, 0, lambda: errors.extend(_compare(trainer, rank, bounds, GRADIENT)))
    for name, expected in bounds.step.figures.items():
        values = (figures[name], expected, bounds.figures[name])
        tensors = (torch.tensor([value], dtype=torch.float64) for value in values)
        errors.append(_find_worst(name, rank, *tensors))
    errors += _compare(trainer, rank, bounds, "")
    return RankReport(tuple(errors), routing.flips, routing.choices, products.fused)


class RankRouting:
    """Gives a rank its share of the reference's choices, and counts where its own choice differs."""

    def __init__(
        self,
        expected: Mapping[ChoiceKey, Tensor],
        states: Mapping[tuple[str, int], States],
        rank: int,
        plan: Plan,
    ) -> None:
        self.expected, self.states, self.rank, self.mesh = expected, states, rank, plan.mesh
        staged = plan.pipeline.axes if plan.pipeline else ()
        self.axes = [axis for axis in plan.mesh.names if axis not in staged]
        self.flips = self.choices = 0

    def choose(self, key: ChoiceKey, own: Selection) -> Tensor | None:
        """The choice that replaces a rank's own; None where the reference has none of that shape."""
        states = self.states.get((key.path, key.number))
        if states is None or key not in self.expected:
            return None
        shards = {axis: at for axis, at in states.items() if at.sharded and at.dim < own.indices.ndim}
        share = select_share(shards, self.expected[key], self.rank, self.mesh).to(own.indices.device)
        if share.shape != own.indices.shape:
            return None  # the program was edited: its results will show whether its choices are right
        flips = find_flips(own, share)
        coordinates = self.mesh.coordinates(self.rank)
        if not any(coordinates[axis] for axis in self.axes if axis not in shards):  # the first replica
            self.flips += int(flips.sum())
            self.choices += flips.numel()
        return share


class _FusionMonitor(TorchFunctionMode):
    """Records whether the products of experts are fused."""

    fused = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused |= func is torch._grouped_mm
        return func(*args, **(kwargs or {}))


def _compare(trainer: Any, rank: int, bounds: RoundingBounds, kind: str) -> Iterator[BoundedError]:
    """All gradients, or all parameters."""
    step = bounds.step
    expected = step.gradients if kind else step.parameters
    limits = bounds.gradients if kind else bounds.parameters
    for parameter in list_parameters(trainer):
        shard = parameter.read(gradient=bool(kind)).double()
        shares = (parameter.select_share(whole) for whole in (expected, limits))
        yield _find_worst(kind + parameter.name, rank, shard, *shares)


def _find_worst(what: str, rank: int, actual: Tensor, expected: Tensor, bound: Tensor) -> BoundedError:
    """The entry that uses most of its bound. An exact entry uses nothing, even of a bound of zero."""
    if not actual.numel():
        return BoundedError(what, rank, 0.0, 0.0, 0.0)
    error, bound = (actual - expected).abs().flatten(), bound.flatten()
    used = torch.where(error == 0, 0.0, error / bound).nan_to_num(nan=torch.inf)
    at = int(used.argmax())
    return BoundedError(what, rank, float(error[at]), float(bound[at]), float(used[at]))
