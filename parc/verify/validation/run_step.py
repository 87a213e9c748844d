"""The first steps of a program whose ranks are threads of this process, compared with the user's module."""

from __future__ import annotations

import importlib
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.plan.blocks import Plan
from parc.plan.placement import locate_stages
from parc.runtime.data.datasets import Dataset
from parc.runtime.placement import PlacedParameter
from parc.verify.execution.trainer import forget_modules, select_share
from parc.verify.numbers.compare import Deviation, compare_step
from parc.verify.numbers.reference import ReferenceStep, build_schedule
from parc.verify.validation.thread_group import Mismatch, run_ranks_as_threads

RATES = 64  # steps whose learning rate is compared
ROUNDED = 1e-6  # relative: the load of experts is computed in float32


@dataclass(frozen=True)
class Expected:
    """What a program has to do, as the user's module does it.

    Tensors have the names of that module. `drawn` are the values that the recipes of its parameters give,
    `values` others that it begins with in their place. `loads` are the figures of the busiest expert, one a
    step, or None where there are no experts.
    """

    drawn: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    steps: Sequence[ReferenceStep]
    loads: Sequence[float | None]


def compare_program_here(plan: Plan, folder: Path, dataset: Dataset, expected: Expected) -> list[Deviation]:
    """The deviations of the first steps of the program in `folder`, of all ranks.

    Raises what the program raises, Mismatch, and Deadlock.
    """
    with _import_program(folder) as train:
        options = train.parse_arguments(["--data", "unused", "--device", "cpu"])

        def take_steps(rank: int) -> list[Deviation]:
            trainer = train.build_trainer(dataset, options, "cpu")
            _check_place(plan, trainer.topology, rank)
            found = [*_compare_drawn(trainer.parameters, expected.drawn, rank)]
            found += _compare_rates(trainer.settings, plan, rank)
            with torch.no_grad():
                for parameter in trainer.parameters:
                    parameter.set_elements(select_share(parameter, expected.values))
            loads = _record_loads(trainer)
            for number, step in enumerate(expected.steps):
                found += compare_step(trainer, number, step)
                found += _compare_loads(loads, expected.loads[number], number, rank)
                loads.clear()
            return found

        return [each for rank in run_ranks_as_threads(plan.mesh.size, take_steps) for each in rank]


def _check_place(plan: Plan, topology: Any, rank: int) -> None:
    """Raises Mismatch where a rank lies elsewhere on the mesh, or reads other data, than the plan says."""
    at = plan.mesh.coordinates(rank)
    mesh, stages = topology.mesh, locate_stages(plan, rank)
    held = {axis: mesh.get_local_rank(axis) for axis in mesh.mesh_dim_names if axis in at}
    own = {axis: place for axis, place in at.items() if axis not in plan.list_axes("pipeline")}
    if held != own or topology.stages != stages:
        placed = f"lies at {held} with the stages {topology.stages}"
        raise Mismatch(f"rank {rank} {placed}, and at {at} with the stages {stages} by the plan")
    share = plan.mesh.index(rank, plan.list_axes("data")), plan.mesh.product(plan.list_axes("data"))
    if (topology.data_rank, topology.data_ranks) != share:
        read = f"share {topology.data_rank} of {topology.data_ranks}"
        raise Mismatch(f"rank {rank} reads {read} of the data, and {share[0]} of {share[1]} by the plan")


def _compare_drawn(
    parameters: Sequence[PlacedParameter], drawn: Mapping[str, Tensor], rank: int
) -> Iterator[Deviation]:
    """Initial values are the same in every layout, to the last bit."""
    for parameter in parameters:
        error = math.inf
        if all(name in drawn for name in parameter.user_names):
            share = select_share(parameter, drawn)
            if share.shape == parameter.tensor.shape:
                kept = parameter.select_slice(share.contiguous()) if parameter.gathered else share
                error = float((parameter.kept - kept).abs().max()) if kept.numel() else 0.0
        what = f"initial value of {parameter.name}"
        yield Deviation(what, parameter.user_names, -1, rank, error, 0.0, 0.0 if error == 0 else math.inf)


def _compare_rates(settings: Any, plan: Plan, rank: int) -> Iterator[Deviation]:
    """The learning rate from the first step to the last, of which a few are taken here."""
    schedule, steps = build_schedule(plan), plan.train.steps
    for step in sorted({*range(0, steps, max(1, steps // RATES)), steps - 1}):
        error = abs(settings.learning_rate(step) - schedule.learning_rate(step))
        yield Deviation("learning rate", (), step, rank, error, 0.0, 0.0 if error == 0 else math.inf)


def _record_loads(trainer: Any) -> list[float]:
    """What the trainer reports as the load of the busiest expert from now on."""
    compute, found = trainer.compute_expert_load, list[float]()

    def compute_and_record(counts: Tensor) -> Tensor:
        load: Tensor = compute(counts)
        found.append(float(load))
        return load

    trainer.compute_expert_load = compute_and_record
    return found


def _compare_loads(
    found: Sequence[float], expected: float | None, step: int, rank: int
) -> Iterator[Deviation]:
    if expected is not None:
        error = abs(found[-1] - expected) if found else math.inf
        bound = ROUNDED * expected
        yield Deviation("load of the busiest expert", (), step, rank, error, bound, error / bound)


@contextmanager
def _import_program(folder: Path) -> Iterator[Any]:
    """The module `train` of a program, whose modules stand for any others of their names meanwhile."""
    own = {path.stem for path in folder.iterdir()}
    before, writes = dict(sys.modules), sys.dont_write_bytecode
    forget_modules(own)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Set timeout is now only supported")  # threads do not time out
            yield importlib.import_module("train")
    finally:
        sys.dont_write_bytecode = writes
        sys.path.remove(str(folder))
        forget_modules(own)
        sys.modules.update({name: before[name] for name in before if name.partition(".")[0] in own})
