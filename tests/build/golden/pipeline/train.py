"""Trains plan `pipeline`: 4 ranks as dp 2 x pp 2.

Starts all ranks on this machine, or runs as one of them under torchrun: see README.md.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path

import torch

import model
import stage_0
import stage_1
from runtime.data.batches import Batches, BatchSettings
from runtime.data.datasets import ByteDataset, Dataset, check_ids, find_files
from runtime.init import initialize
from runtime.objective import Objective
from runtime.optim import AdamWSettings
from runtime.pipeline import Pipeline
from runtime.placement import Precision, place_parameters
from runtime.process.connect import choose_device, compute_collective_timeout
from runtime.process.launch import launch
from runtime.process.metrics import MetricsWriter
from runtime.process.options import folder, positive_float, positive_int, report_faults
from runtime.process.progress import Progress
from runtime.stages import StageSpec
from runtime.topology import Topology
from runtime.training import Trainer

# Outermost first: the last axis numbers neighbouring ranks.
AXES = {"dp": 2, "pp": 2}
WORLD_SIZE = 4
SEED = 5
STEPS = 100
DATA = ["stdlib:*.py"]
BATCH = BatchSettings(sequences=16, length=24, microbatches=4, seed=SEED, shift="data", vocabulary=256)
OBJECTIVE = Objective(returns="logits", loss_axes=("dp",), balance=0.1, balance_axes=())
OPTIMIZER = AdamWSettings(
    lr=0.002,
    beta1=0.9,
    beta2=0.95,
    eps=1e-8,
    weight_decay=0.1,
    clip=0.5,
    warmup=0,
    decay="constant",
    min_lr=0.0,
)
PRECISION = Precision(master=torch.float32, gradients=torch.float32)
SEQUENCES = BATCH.sequences // BATCH.microbatches // AXES["dp"]  # of a microbatch, on one rank
STAGES = (
    StageSpec(
        build=stage_0.Stage,
        first_layer=0,
        outputs=(
            torch.empty((), device="meta"),
            torch.empty((SEQUENCES, BATCH.length, 32), device="meta"),
            torch.empty((), device="meta"),
        ),
    ),
    StageSpec(build=stage_1.Stage, first_layer=2, keywords=("tokens", "labels")),
)


@dataclass(frozen=True)
class Options:
    """The command line."""

    steps: int
    lr: float
    data: list[str]
    base: Path
    out: Path
    device: str | None
    timeout: float


def main() -> None:
    options = parse_arguments()
    with report_faults():  # before any rank starts
        Batches(open_dataset(options.data, options.base), BATCH)
        options.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(int(os.environ.get("LOCAL_WORLD_SIZE", WORLD_SIZE)), options.device)
    launch(WORLD_SIZE, train, options, device, device=device, timeout=options.timeout)


def train(options: Options, device: str) -> None:
    """One rank's part of the run. Rank 0 reports."""
    dataset = open_dataset(options.data, options.base)
    check_ids(dataset, BATCH.vocabulary, device)
    trainer = build_trainer(dataset, options, device)
    if torch.distributed.get_rank() != 0:
        for step in range(options.steps):
            trainer.step(step)
        return
    progress = Progress(options.steps)
    with MetricsWriter(options.out) as metrics:
        for step in range(options.steps):
            figures = trainer.step(step)
            metrics.write(figures)
            progress.update(figures)


def build_trainer(dataset: Dataset, options: Options, device: str) -> Trainer:
    """The trainer of this rank's stages, with their initial values. All ranks call this together."""
    topology = Topology.build(
        AXES, data=("dp",), pipeline="pp", device=device, timeout=compute_collective_timeout(options.timeout)
    )
    specs = [STAGES[number] for number in topology.stages]
    with torch.device(device):
        stages = [spec.build(topology.mesh, spec.first_layer) for spec in specs]
    parameters = [
        parameter
        for stage in stages
        for parameter in place_parameters(stage, model.PLACEMENTS, topology.mesh, PRECISION)
    ]
    initialize(parameters, SEED)
    return Trainer(
        stages,
        parameters,
        topology,
        Batches(dataset, BATCH),
        OBJECTIVE,
        replace(OPTIMIZER, lr=options.lr, steps=options.steps),
        pipeline=build_pipeline(stages, topology, device),
        load_axes=("dp",),
    )


def build_pipeline(stages: list[torch.nn.Module], topology: Topology, device: str) -> Pipeline:
    """The schedule of the microbatches. Shapes are given: torch would run the stages to infer them."""
    return Pipeline(
        stages,
        STAGES,
        topology,
        tokens=torch.empty((SEQUENCES, BATCH.length), dtype=torch.int64, device="meta"),
        microbatches=BATCH.microbatches,
        schedule="1f1b",
        device=torch.device(device),
    )


def open_dataset(patterns: list[str], base: Path) -> ByteDataset:
    """The bytes of all files that match."""
    return ByteDataset(find_files(patterns, base))


def parse_arguments(arguments: list[str] | None = None) -> Options:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=positive_int, default=STEPS)
    parser.add_argument("--lr", type=positive_float, default=OPTIMIZER.lr)
    parser.add_argument("--data", nargs="+", default=DATA, required=not DATA, metavar="GLOB")
    parser.add_argument(
        "--base", type=folder, default=Path(), help="the folder that the globs start from (default: this one)"
    )
    parser.add_argument("--out", type=Path, default=Path("runs"), help="the folder for metrics")
    parser.add_argument("--device", choices=("cpu", "cuda"))
    parser.add_argument(
        "--timeout",
        type=positive_float,
        default=300.0,
        metavar="SECONDS",
        help="a step that takes longer ends the run, and the rank that hangs is named (default: %(default)s)",
    )
    return Options(**vars(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
