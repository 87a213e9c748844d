"""Where a program first leaves its model: one tensor, its ranks, and what was communicated just before it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.ir.program import Parameter, Program
from parc.ir.states import S
from parc.plan.mesh import Mesh
from parc.runtime.data import Dataset
from parc.verify.execution.subprocess import apart
from parc.verify.execution.watchdog import run
from parc.verify.numbers.activation_hooks import Key
from parc.verify.numbers.activations import Seen, observed, read, reference
from parc.verify.numbers.compare import FLOOR
from parc.verify.numbers.describe_divergence import First, told
from parc.verify.numbers.forward_sites import Place, places
from parc.verify.numbers.shards import States, gradient, share_of, summed
from parc.verify.numbers.tolerance import TOLERANCE, Gap, gap
from parc.verify.report import Finding
from parc.verify.sample.compile import Trial

STEPS = 3

Ranks = Sequence[Mapping[str, Any]]  # what `observed` has seen of a step, by rank


def first_difference(trial: Trial, folder: Path, dataset: Dataset, timeout: float) -> Finding:
    """Runs the program in `folder` once more, and the model beside it, until a tensor differs.

    `timeout` is of a step, in seconds. Raises Stopped where the program does not run to its end.
    """
    for count in (1, STEPS):  # most show in the first step, and a step of many ranks takes long
        if found := _found(trial, folder, dataset, count, timeout):
            return found
    return Finding(
        "the difference is gone when the program is run once more: it does not always compute alike"
    )


def _found(trial: Trial, folder: Path, dataset: Dataset, count: int, timeout: float) -> Finding | None:
    plan = trial.plan
    search = Search(plan.mesh, trial.program)
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        arguments = (str(folder), dataset, count, search.paths, "cpu", Path(scratch), timeout)
        run(plan.mesh.size, folder, observed, *arguments, timeout=timeout)
        return apart(partial(_compared, search, trial, folder, dataset, count, Path(scratch)))


def _compared(
    search: Search, trial: Trial, folder: Path, dataset: Dataset, count: int, scratch: Path
) -> Finding | None:
    """What `observed` has left in `scratch`, against the model."""
    plan, recipes = trial.plan, trial.captured.loaded.recipes
    for step, wanted in enumerate(reference(plan, recipes, dataset, count, search.paths)):
        ranks = [read(scratch, rank, step) for rank in range(plan.mesh.size)]
        for first in search.differences(ranks, wanted):
            return told(first, step, plan, trial.files, folder, ranks)
    return None


class Search:
    """Everything that a step computes, in the order in which it is computed."""

    def __init__(self, mesh: Mesh, program: Program) -> None:
        self.mesh = mesh
        self.stages = [list(places(stage)) for stage in program.stages]
        self.ends = {  # of each module: its stage, and where it ends there
            place.path: (stage, number)
            for stage, found in enumerate(self.stages)
            for number, place in enumerate(found)
            if place.move is None and place.path
        }
        self.paths = sorted(self.ends)
        self.parameters = self._named_parameters()

    def differences(self, ranks: Ranks, wanted: Seen) -> Iterator[First]:
        """What differs, first things first."""
        yield from self._outputs(ranks, "values", wanted.values)
        yield from self._figure(ranks, "loss", wanted.step.loss)
        yield from self._figure(ranks, "balance loss", wanted.step.balance)
        yield from self._outputs(ranks, "gradients", wanted.gradients)
        floor = _floor(wanted.step.gradients.values())
        yield from self._parameters(ranks, "gradient of ", wanted.step.gradients, floor)
        yield from self._figure(ranks, "gradient norm", wanted.step.norm)
        yield from self._figure(ranks, "learning rate", wanted.step.rate)
        yield from self._parameters(ranks, "", wanted.step.parameters, wanted.step.floor)

    def _outputs(self, ranks: Ranks, kind: str, wanted: Mapping[Key, Tensor]) -> Iterator[First]:
        floor = _floor(wanted.values())
        backward = kind == "gradients"
        for key, whole in wanted.items():
            stage, number = self.ends[key.path]
            values = self.stages[stage][number].values
            states = gradient(values[key.place].states) if backward else values[key.place].states
            held = {rank: seen[kind].get(key) for rank, seen in enumerate(ranks) if seen["stage"] == stage}
            if gaps := self._gaps(states, held, whole, floor):
                name = f"output {key.place + 1}" if len(values) > 1 else "the output"
                what = f"{'the gradient of ' if backward else ''}{name} of `{key.path}`"
                before = self._before(stage, number, backward)
                unit = self.stages[stage][number].unit.name
                yield First(what, key.microbatch, gaps, len(held), stage, before, backward, unit=unit)

    def _gaps(
        self, states: States, held: Mapping[int, Tensor | None], whole: Tensor, floor: float
    ) -> dict[int, Gap]:
        """By rank, where they are too wide. What a rank does not hold, no gradient say, counts as zeros."""
        wanted = {rank: share_of(states, whole, rank, self.mesh) for rank in held}
        mine = {rank: torch.zeros_like(wanted[rank]) if t is None else t for rank, t in held.items()}
        if all(mine[rank].shape == wanted[rank].shape for rank in held):
            mine = summed(states, mine, self.mesh)
        found = {rank: gap(mine[rank], wanted[rank], floor) for rank in held}
        return {rank: each for rank, each in found.items() if each.error > TOLERANCE}

    def _before(self, stage: int, end: int, backward: bool) -> tuple[Place, ...]:
        """What was communicated since the last tensor that agrees, the latest first; else what was last."""
        here = self.stages[stage]
        found: list[Place] = []
        for place in here[end + 1 :] if backward else here[:end][::-1]:
            if place.move and (place.move.backward if backward else place.move.forward):
                found.append(place)
            if found and place.move is None:
                break
        return tuple(found)

    def _figure(self, ranks: Ranks, name: str, wanted: float) -> Iterator[First]:
        whole = torch.tensor([wanted], dtype=torch.float64)
        found = {
            rank: gap(torch.tensor([seen["figures"][name]], dtype=torch.float64), whole, FLOOR**2)
            for rank, seen in enumerate(ranks)
        }
        if gaps := {rank: each for rank, each in found.items() if each.error > TOLERANCE}:
            last = len(self.stages) - 1
            before = (
                ()
                if name in ("gradient norm", "learning rate")
                else self._before(last, len(self.stages[last]) - 1, False)
            )
            yield First(f"the {name}", None, gaps, len(ranks), last, before)

    def _parameters(
        self, ranks: Ranks, kind: str, wanted: Mapping[str, Tensor], floor: float
    ) -> Iterator[First]:
        """In the order in which a backward pass completes them."""
        for name, (stage, unit, parameter) in self.parameters.items():
            mine = {rank: seen for rank, seen in enumerate(ranks) if seen["stage"] == stage}
            held = {rank: seen[f"{kind}parameters"][name] for rank, seen in mine.items()}
            names = next(seen["names"][name] for seen in mine.values())
            whole = wanted[name] if names == (name,) else torch.stack([wanted[each] for each in names])
            states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
            if gaps := self._gaps(states, held, whole, floor):
                what, summed_up = (f"the gradient of `{name}`", parameter) if kind else (f"`{name}`", None)
                yield First(what, None, gaps, len(held), stage, (), False, summed_up, unit)

    def _named_parameters(self) -> dict[str, tuple[int, str, Parameter]]:
        return {
            f"{place.path}.{parameter.path}" if place.path else parameter.path: (
                stage,
                place.unit.name,
                parameter,
            )
            for stage, found in reversed(list(enumerate(self.stages)))
            for place in reversed(found)
            if place.move is None
            for parameter in reversed(place.unit.parameters)
        }


def _floor(wanted: Any) -> float:
    """Below it a tensor is zero but for rounding."""
    sizes = [float(whole.abs().max()) for whole in wanted if whole.numel()]
    return FLOOR * max(sizes, default=0.0)
