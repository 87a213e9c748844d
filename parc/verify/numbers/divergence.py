"""Locates where a program first diverges from its model: the first tensor of a step that differs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from parc.ir.forward_sites import ForwardSite, iterate_sites
from parc.ir.program import Program
from parc.ir.states import S, derive_gradient_state
from parc.plan.blocks import Plan
from parc.plan.placement import count_balance_groups
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import join_experts
from parc.verify.numbers.activations import (
    ActivationKey,
    RankActivations,
    ReferenceActivations,
    run_rank,
    run_reference,
)
from parc.verify.numbers.describe_divergence import Divergence, describe_divergence
from parc.verify.numbers.groups import join_groups
from parc.verify.numbers.shards import StatesByAxis, select_share, sum_terms
from parc.verify.numbers.tolerance import (
    FLOOR,
    TOLERANCE,
    TensorError,
    compare_tensors,
    find_largest_entry,
)
from parc.verify.report import RungFinding
from parc.verify.sample.sample import SampleRun

STEPS = 3

Ranks = Sequence[RankActivations]  # of one step, by rank


def locate_divergence(run: SampleRun) -> RungFinding:
    """Runs the program once more, and its model, until a tensor differs.

    Raises RunFailed where the program does not run to its end.
    """
    search = Search(run.sample.plan, run.sample.program)
    for count in (1, STEPS):  # most bugs show in the first step, and a step of many ranks takes long
        ranks = run.run_ranks(run_rank, count, search.paths)
        if found := run_in_subprocess(partial(_compare_steps, run, search, list(zip(*ranks, strict=True)))):
            return found
    return RungFinding(
        "the difference is gone when the program is run once more: it does not always compute alike"
    )


def _compare_steps(run: SampleRun, search: Search, steps: Sequence[Ranks]) -> RungFinding | None:
    expected = run_reference(run.reference, len(steps), search.paths)
    for number, (ranks, reference) in enumerate(zip(steps, expected, strict=True)):
        for divergence in search.find_differences(ranks, reference):
            return describe_divergence(divergence, number, run, ranks)
    return None


class Search:
    """All tensors of a step, in the order in which they are computed."""

    def __init__(self, plan: Plan, program: Program) -> None:
        self.plan, self.mesh = plan, plan.mesh
        self.stages = [list(iterate_sites(stage)) for stage in program.stages]
        self.ends = {  # of each module: its stage, and the site at its end
            site.path: (stage, number)
            for stage, sites in enumerate(self.stages)
            for number, site in enumerate(sites)
            if site.move is None and site.path
        }
        self.paths = sorted(self.ends)
        self.parameters = {  # by name, in the order in which a backward pass completes their gradients
            f"{site.path}.{parameter.path}".removeprefix("."): (stage, site.unit.name, parameter)
            for stage, sites in reversed(list(enumerate(self.stages)))
            for site in reversed(sites)
            if site.move is None
            for parameter in reversed(site.unit.parameters)
        }

    def find_differences(self, ranks: Ranks, expected: ReferenceActivations) -> Iterator[Divergence]:
        """The tensors that differ, in the order in which they are computed."""
        step = expected.step
        yield from self._compare_outputs(ranks, expected.outputs, backward=False)
        yield from self._compare_figure(ranks, "loss", step.figures)
        yield from self._compare_figure(ranks, "balance loss", step.figures)
        yield from self._compare_outputs(ranks, expected.gradients, backward=True)
        yield from self._compare_parameters(ranks, step.gradients, step.gradient_floor, gradient=True)
        yield from self._compare_figure(ranks, "gradient norm", step.figures)
        yield from self._compare_figure(ranks, "learning rate", step.figures)
        yield from self._compare_parameters(ranks, step.parameters, step.parameter_floor, gradient=False)

    def _compare_outputs(
        self, ranks: Ranks, expected: Mapping[ActivationKey, Tensor], *, backward: bool
    ) -> Iterator[Divergence]:
        floor = FLOOR * max(map(find_largest_entry, expected.values()), default=0.0)
        groups = count_balance_groups(self.plan)
        for key in dict.fromkeys(each._replace(microbatch=each.microbatch // groups) for each in expected):
            stage, end = self.ends[key.path]
            site = self.stages[stage][end]
            states: StatesByAxis = site.values[key.output].states
            if backward:
                states = {axis: derive_gradient_state(state) for axis, state in states.items()}
            held = {
                rank: (each.gradients if backward else each.outputs).get(key)
                for rank, each in enumerate(ranks)
                if stage in each.modules
            }
            joined = ((rank, join_groups(expected, key, states, self.plan, rank)) for rank in held)
            wholes = {rank: whole for rank, whole in joined if whole is not None}
            if errors := self._measure(states, held, wholes, floor):
                output = f"output {key.output + 1}" if len(site.values) > 1 else "the output"
                what = f"{'the gradient of ' if backward else ''}{output} of `{key.path}`"
                before = self._find_preceding(stage, end, backward)
                yield Divergence(
                    what, key.microbatch, errors, len(held), stage, before, backward, unit=site.unit.name
                )

    def _measure(
        self,
        states: StatesByAxis,
        held: Mapping[int, Tensor | None],
        wholes: Mapping[int, Tensor],
        floor: float,
    ) -> dict[int, TensorError]:
        """The errors above the tolerance, by rank. A tensor that a rank lacks counts as zeros."""
        expected = {rank: select_share(states, wholes[rank], rank, self.mesh) for rank in held}
        actual = {rank: torch.zeros_like(expected[rank]) if t is None else t for rank, t in held.items()}
        if all(actual[rank].shape == expected[rank].shape for rank in held):
            actual = sum_terms(states, actual, self.mesh)
        errors = {rank: compare_tensors(actual[rank], expected[rank], floor) for rank in held}
        return {rank: each for rank, each in errors.items() if each.error > TOLERANCE}

    def _find_preceding(self, stage: int, end: int, backward: bool) -> tuple[ForwardSite, ...]:
        """The collectives since the last tensor that agrees, the latest first; else the last collective."""
        sites = self.stages[stage]
        found: list[ForwardSite] = []
        for site in sites[end + 1 :] if backward else sites[:end][::-1]:
            if site.move and (site.move.backward if backward else site.move.forward):
                found.append(site)
            if found and site.move is None:
                break
        return tuple(found)

    def _compare_figure(self, ranks: Ranks, name: str, expected: Mapping[str, float]) -> Iterator[Divergence]:
        pairs = (torch.tensor([each.figures[name], expected[name]], dtype=torch.float64) for each in ranks)
        found = [compare_tensors(actual, value, FLOOR**2) for actual, value in pairs]
        if errors := {rank: each for rank, each in enumerate(found) if each.error > TOLERANCE}:
            last = len(self.stages) - 1
            of_forward = name in ("loss", "balance loss")
            before = self._find_preceding(last, len(self.stages[last]) - 1, False) if of_forward else ()
            yield Divergence(f"the {name}", None, errors, len(ranks), last, before)

    def _compare_parameters(
        self, ranks: Ranks, expected: Mapping[str, Tensor], floor: float, *, gradient: bool
    ) -> Iterator[Divergence]:
        for name, (stage, unit, parameter) in self.parameters.items():
            held: dict[int, Tensor | None] = {
                rank: (each.parameter_gradients if gradient else each.parameters)[name]
                for rank, each in enumerate(ranks)
                if stage in each.modules
            }
            user_names = ranks[min(held)].user_names[name]
            states = {axis: S(*cut) for axis, cut in parameter.sharded.items()}
            wholes = dict.fromkeys(held, join_experts(name, user_names, expected))
            if errors := self._measure(states, held, wholes, floor):
                what = f"the gradient of `{name}`" if gradient else f"`{name}`"
                summed = parameter if gradient else None
                yield Divergence(what, None, errors, len(held), stage, (), False, summed, unit)
