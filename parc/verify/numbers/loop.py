"""The loop of a program: its own `train`, of which every step is compared."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch.distributed as dist

from parc.emit.scratch import make_temporary
from parc.runtime.data.datasets import Dataset
from parc.verify.execution.trainer import prepare_program

BUCKET = 64  # elements of a gradient bucket: a small model has several, as a large one has
LOOP = "the loop of `train`"  # as what is wrong with it begins
SECONDS = 2.0  # that a step takes by the clock of the run
ERROR = 1e-9


def run_loop(
    folder: Path, dataset: Dataset, steps: int, inspect_step: Callable[[Any, int], None]
) -> tuple[Any, list[str]]:
    """Runs `train` of the program for `steps` steps; the trainer, and what is wrong with the loop.

    `inspect_step(trainer, number)` takes a step in the place of `trainer.step(number)`.
    """
    train, options = prepare_program(folder, "cpu")
    runtime = sys.modules["runtime.buckets"]
    if hasattr(runtime, "BUCKET"):
        runtime.BUCKET = BUCKET  # type: ignore[attr-defined]
    trainer = train.build_trainer(dataset, options, "cpu")
    loop = _Loop(trainer, inspect_step)
    with make_temporary() as out:
        train.build_trainer = lambda *_: loop
        train.open_dataset = lambda *_: dataset
        train.check_ids = lambda *_: None
        train.train(replace(options, steps=steps, out=out), "cpu")
        faults = list(_find_faults(loop, steps, out))
    return trainer, faults


class _Loop:
    """Stands for the trainer in the loop."""

    def __init__(self, trainer: Any, inspect_step: Callable[[Any, int], None]) -> None:
        self.trainer, self.inspect_step = trainer, inspect_step
        self.numbers: list[int] = []
        self.figures: list[Mapping[str, float]] = []
        self.wrong_rates: list[str] = []

    def step(self, number: int) -> Mapping[str, float]:
        self.numbers.append(number)
        clock, module = _Clock(), sys.modules["runtime.training"]
        before, module.time = module.time, clock  # type: ignore[attr-defined]
        try:
            with _keep_figures(self.trainer, self.figures):
                self.inspect_step(self.trainer, number)
        finally:
            module.time = before  # type: ignore[attr-defined]
        self.wrong_rates += _find_wrong_rates(self.trainer, clock, self.figures[-1])
        return self.figures[-1]


@contextmanager
def _keep_figures(trainer: Any, figures: list[Mapping[str, float]]) -> Iterator[None]:
    step = trainer.step

    def keep(number: int) -> Mapping[str, float]:
        figures.append(step(number))
        return figures[-1]

    trainer.step = keep
    try:
        yield
    finally:
        del trainer.step


class _Clock:
    """The module `time`, but for a clock by which each look takes `SECONDS`."""

    def __init__(self) -> None:
        self.looks = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)

    def perf_counter(self) -> float:
        self.looks += 1
        return self.looks * SECONDS


def _find_wrong_rates(trainer: Any, clock: _Clock, figures: Mapping[str, float]) -> Iterator[str]:
    """Those of a step that looks at the clock when it begins and when it ends."""
    batch = trainer.batches.settings
    rates = {"tokens_per_second": batch.sequences * batch.length / SECONDS}
    if trainer.flops and trainer.peak_flops:
        rates["mfu"] = trainer.flops / SECONDS / trainer.peak_flops
    for name, expected in rates.items() if clock.looks == 2 else ():
        if abs(figures[name] - expected) > ERROR * expected:
            yield f"the figure `{name}` is {figures[name] / expected:g} times what the clock says"


def _find_faults(loop: _Loop, steps: int, out: Path) -> Iterator[str]:
    yield from dict.fromkeys(loop.wrong_rates)
    if loop.numbers != list(range(steps)):
        yield f"{LOOP} takes the steps {loop.numbers}, not {list(range(steps))}"
    if dist.get_rank() == 0:
        file = out / "metrics.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) != len(loop.figures):
            yield f"{len(lines)} lines of metrics are written of {len(loop.figures)} steps"
