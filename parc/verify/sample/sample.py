"""A sample: a plan that is compiled to be run here, in a precision that the proof chooses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias, TypeVar

from parc.capture.capture import Captured, capture
from parc.emit.program import Files, emit
from parc.ir.program import Program
from parc.lower.program import lower
from parc.plan.blocks import BITS, NumberType, Plan
from parc.runtime.data.datasets import Dataset
from parc.shard.propagate import propagate
from parc.verify.execution.watchdog import run_ranks
from parc.verify.numbers.reference import Reference

T = TypeVar("T")

LowPrecision: TypeAlias = Literal["fp32", "bf16"]
Precision: TypeAlias = Literal["fp64"] | LowPrecision
NARROWER: Mapping[str, NumberType] = {"fp64": "fp32", "fp32": "bf16"}


@dataclass(frozen=True)
class Sample:
    """A plan that is run here, its captured model, and its program in memory and as files.

    `notes` are lines on how it was made from the plan that is to be proved.
    """

    plan: Plan
    captured: Captured
    program: Program
    files: Files  # as emitted; the folder that is run may differ
    notes: tuple[str, ...] = ()


def compile_sample(plan: Plan, compute: Precision = "fp64", captured: Captured | None = None) -> Sample:
    """Compiles `plan` to compute in `compute`. `captured` is its model in that precision, if at hand.

    Raises CompileError where the plan cannot be built.
    """
    plan = set_precision(plan, compute)
    captured = captured or capture(plan)
    program = lower(plan, captured, propagate(plan, captured))
    return Sample(plan, captured, program, emit(plan, program, {}))


def set_precision(plan: Plan, compute: Precision) -> Plan:
    """The plan in another precision, whether or not the language allows it; as it is where it computes so.

    Moments that the plan keeps in fewer bits than the masters have the next smaller type of theirs.
    """
    own = plan.train.precision
    if own.compute == compute != "fp64":
        return plan
    master: Literal["fp32", "fp64"] = "fp64" if compute == "fp64" else "fp32"
    moments = NARROWER[master] if BITS[own.moments] < BITS[own.master] else master
    precision = replace(own, compute=compute, master=master, gradients=master, reduce=master, moments=moments)
    return replace(plan, train=replace(plan.train, precision=precision))


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
        return Reference(self.sample.plan, self.sample.captured, self.dataset)

    def run_ranks(self, target: Callable[..., T], *args: object) -> list[T]:
        """Calls `target(folder, dataset, *args)` on each rank; the results, in the order of the ranks.

        Raises RunFailed where the program does not run to its end.
        """
        world, arguments = self.sample.plan.mesh.size, (self.folder, self.dataset, *args)
        return run_ranks(world, self.folder, target, *arguments, timeout=self.timeout, device=self.device)
