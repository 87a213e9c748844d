"""One step of a program whose ranks are threads of this process, compared with the user's module."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from parc.runtime.datasets import Dataset
from parc.verify.execution.trainer import forget_modules, select_share
from parc.verify.numbers.compare import Deviation, compare_step
from parc.verify.numbers.reference import ReferenceStep
from parc.verify.validation.thread_group import run_ranks_as_threads


def compare_program_here(
    world: int,
    folder: Path,
    dataset: Dataset,
    values: Mapping[str, Tensor],
    expected: Sequence[ReferenceStep],
) -> list[Deviation]:
    """The deviations of the first steps of the program in `folder`, of all ranks.

    The program begins with `values`, by the names of the user's model, as the reference has. Raises what the
    program raises, Mismatch, and Deadlock.
    """
    with _import_program(folder) as train:
        options = train.parse_arguments(["--data", "unused", "--device", "cpu"])

        def take_steps(_rank: int) -> list[Deviation]:
            trainer = train.build_trainer(dataset, options, "cpu")
            with torch.no_grad():
                for parameter in trainer.parameters:
                    parameter.tensor.copy_(select_share(parameter, values))
            steps = (compare_step(trainer, number, step) for number, step in enumerate(expected))
            return [deviation for step in steps for deviation in step]

        return [each for rank in run_ranks_as_threads(world, take_steps) for each in rank]


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
