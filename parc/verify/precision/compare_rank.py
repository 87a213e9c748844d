"""One rank in a step of low precision: routed as the reference was, then compared with its bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from parc.plan.blocks import Plan
from parc.plan.mesh import split_group_name
from parc.runtime.data.datasets import Dataset
from parc.verify.execution.trainer import load_trainer
from parc.verify.numbers.compare import Deviation, compare_step
from parc.verify.numbers.groups import join_groups
from parc.verify.numbers.shards import select_share
from parc.verify.precision.kept_computation import KeptComputation
from parc.verify.precision.kept_types import find_wrong_types
from parc.verify.precision.replay_routing import (
    ChoiceKey,
    ChoiceStates,
    Selection,
    find_flips,
    replay_routing,
)
from parc.verify.precision.rounding_bounds import BoundedStep


@dataclass(frozen=True)
class RankReport:
    """What one rank has compared."""

    deviations: tuple[Deviation, ...]
    flips: int  # choices that would differ; a choice that several ranks make counts once
    choices: int
    fused: bool  # whether the products of experts were fused
    wrong_types: tuple[str, ...]


def compare_rank(
    folder: Path,
    dataset: Dataset,
    device: str,
    states: ChoiceStates,
    plan: Plan,
    kept: Set[str],
    kept_modules: Sequence[str],
    file: Path,
) -> RankReport:
    """Takes a step of the program in `folder` on this rank, with the choices of the step in `file`.

    `kept` are the parameters that stay in fp32, `kept_modules` the modules that have them.
    """
    expected: BoundedStep = torch.load(file, weights_only=False, mmap=True)
    trainer = load_trainer(folder, dataset, device)
    routing = RankRouting(expected.choices, states, torch.distributed.get_rank(), plan)
    replay_routing(trainer.stages, {path for path, _ in states}, routing.choose)
    computation = KeptComputation(trainer.stages, kept_modules)
    with _FusionMonitor() as products:
        deviations = compare_step(trainer, 0, expected)
    wrong = *find_wrong_types(trainer, plan, kept), *computation.wrong.values()
    return RankReport(tuple(deviations), routing.flips, routing.choices, products.fused, wrong)


class RankRouting:
    """Gives a rank its share of the reference's choices, and counts where its own choice differs."""

    def __init__(
        self, expected: Mapping[ChoiceKey, Tensor], states: ChoiceStates, rank: int, plan: Plan
    ) -> None:
        self.expected, self.states, self.rank = expected, states, rank
        self.plan, self.mesh = plan, plan.mesh
        staged = plan.list_axes("pipeline")
        self.axes = [axis for axis in plan.mesh.names if axis not in staged]
        self.flips = self.choices = 0

    def choose(self, key: ChoiceKey, own: Selection) -> Tensor | None:
        """The choice that replaces a rank's own; None where the reference has none of that shape."""
        states = self.states.get((key.path, key.number))
        expected = None if states is None else join_groups(self.expected, key, states, self.plan, self.rank)
        if states is None or expected is None:
            return None
        shards = {axis: at for axis, at in states.items() if at.sharded and at.dim < own.indices.ndim}
        share = select_share(shards, expected, self.rank, self.mesh).to(own.indices.device)
        if share.shape != own.indices.shape:
            return None  # the program was edited: its results will show whether its choices are right
        flips = find_flips(own, share)
        coordinates = self.mesh.coordinates(self.rank)
        split = {axis for group in shards for axis in split_group_name(group)}
        if not any(coordinates[axis] for axis in self.axes if axis not in split):  # the first replica
            self.flips += int(flips.sum())
            self.choices += flips.numel()
        return share


class _FusionMonitor(TorchFunctionMode):
    """Records whether the products of experts are fused."""

    fused = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.fused |= func is torch._grouped_mm
        return func(*args, **(kwargs or {}))
