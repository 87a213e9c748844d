"""The program of a sample in a folder, ready to be run and compared with its model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from parc.runtime.datasets import Dataset
from parc.verify.execution.watchdog import run_ranks
from parc.verify.numbers.reference import Reference
from parc.verify.sample.compile import Sample

T = TypeVar("T")


@dataclass(frozen=True)
class SampleRun:
    """`folder` has the program of `sample`, perhaps edited. `timeout` is that of a step, in seconds."""

    sample: Sample
    folder: Path
    dataset: Dataset
    timeout: float
    device: str = "cpu"

    @property
    def reference(self) -> Reference:
        return Reference(self.sample.plan, self.sample.captured.recipes, self.dataset)

    def run_ranks(self, target: Callable[..., T], *args: object) -> list[T]:
        """Calls `target(folder, dataset, *args)` on each rank; the results, in the order of the ranks.

        Raises Stopped where the program does not run to its end.
        """
        world, arguments = self.sample.plan.mesh.size, (self.folder, self.dataset, *args)
        return run_ranks(world, self.folder, target, *arguments, timeout=self.timeout, device=self.device)
