"""Compares an emitted program, run on real processes, with the reference: every gradient and parameter."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from parc.runtime.datasets import Dataset
from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.execution.trainer import load_trainer
from parc.verify.numbers.deviation import Deviation, compare_step
from parc.verify.numbers.reference import Reference, ReferenceStep
from parc.verify.sample.sample_run import SampleRun


def save_reference(reference: Reference, count: int, file: Path) -> None:
    """Saves the first `count` steps of the model. Every rank maps the file into its memory."""
    run_in_subprocess(lambda: torch.save(list(reference.train(count)), file))


def load_reference(file: Path) -> list[ReferenceStep]:
    """The steps in a file of `save_reference`, mapped into memory."""
    steps: list[ReferenceStep] = torch.load(file, weights_only=False, mmap=True)
    return steps


def compare_program(run: SampleRun, reference: Path) -> list[Deviation]:
    """All deviations of a program in float64 from the steps in the file `reference`, the largest first.

    Raises Stopped where the program does not run to its end.
    """
    found = [each for rank in run.run_ranks(compare_rank, reference) for each in rank]
    compared = {name for each in found for name in each.originals}
    left_out = [name for name in load_reference(reference)[0].parameters if name not in compared]
    found += [Deviation(name, (name,), 0, 0, math.inf, 0.0, math.inf) for name in left_out]
    return sorted(found, key=lambda each: -each.used)


def compare_rank(folder: Path, dataset: Dataset, reference: Path) -> list[Deviation]:
    """The deviations of this rank, on the CPU, from its share of the reference."""
    trainer = load_trainer(folder, dataset, "cpu")
    return [
        deviation
        for number, expected in enumerate(load_reference(reference))
        for deviation in compare_step(trainer, number, expected)
    ]
