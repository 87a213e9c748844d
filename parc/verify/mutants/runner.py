"""Runs one mutant through the rungs, the cheap ones first, until one of them detects it."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

from parc.emit.program import Files
from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.runtime.data.datasets import Dataset
from parc.trace.derive import derive_roles
from parc.trace.ops import Role
from parc.verify.execution.diagnose import RunFailed
from parc.verify.execution.time_limit import TimeLimitExceeded, limit_time
from parc.verify.matching.compare import Departure, OpDifference, describe_departure, find_departures
from parc.verify.matching.record_ranks import record_ranks
from parc.verify.matching.rung import list_role_ends
from parc.verify.mutants.target import MutationTarget
from parc.verify.numbers.compare import FUNCTION, compare_program, load_reference, save_reference
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.precision.rung import prove_precision
from parc.verify.report import NotProvable
from parc.verify.sample.sample import Sample, SampleRun

STEPS = (1, 3)  # most bugs show in the first step
OWN_TIMEOUT = 900.0  # seconds that the program itself may take
SLACK = 5.0  # a mutant hangs where it takes so many times as long as the program itself


Means: TypeAlias = Literal["difference", "crash", "time-out"]


@dataclass(frozen=True)
class Detection:
    """The rung that detected a mutant, by which means, and the message of the finding."""

    rung: str
    means: Means
    message: str

    def __str__(self) -> str:
        return f"{self.rung}, by {self.means}: {self.message}"


class MutantRunner:
    """Compares programs with those of a sample. The reference is computed once.

    `low` is the sample of the same plan in float32, or None. `timeout` is the least time that a mutant may
    take, in seconds.
    """

    def __init__(
        self, sample: Sample, low: Sample | None, dataset: Dataset, scratch: Path, *, timeout: float
    ) -> None:
        self.sample, self.low, self.dataset, self.scratch = sample, low, dataset, scratch
        self.ranks = sorted({rank for pair in list_role_ends(sample.plan) for rank in pair})
        self.roles = derive_roles(sample.plan, sample.program, steps=(0,))
        self.low_roles = derive_roles(low.plan, low.program, steps=(0,)) if low else ()
        self.least, self.limit = timeout, OWN_TIMEOUT
        self.reference = SampleRun(sample, scratch, dataset, timeout).reference
        save_reference(self.reference, STEPS[-1], self._locate_reference(STEPS[-1]))
        self.steps = load_reference(self._locate_reference(STEPS[-1]))
        torch.save(self.steps[: STEPS[0]], self._locate_reference(STEPS[0]))

    def describe_target(self) -> MutationTarget:
        """The program that bugs are injected into, and which bugs this sample can show."""
        return MutationTarget(
            self.sample,
            idle=any(_has_idle_expert(each) for step in self.steps for each in step.gradients.values()),
            low=self.low is not None,
            mixed=self.low is not None and _is_mixed(self.low.plan),
            sent=self.low is not None and _sends_another_type(self.low.plan),
            low_types=self.low.plan.train.precision if self.low else None,
        )

    def check_original(self) -> Detection | None:
        """Runs the program itself: a detection would be a false alarm. Sets the time limit of mutants."""
        start = time.monotonic()
        found = self.detect({}, {})
        self.limit = max(self.least, SLACK * (time.monotonic() - start))
        return found

    def detect(self, edits: Files, low_edits: Files) -> Detection | None:
        """The first detection of `edits` to the program, and of `low_edits` to the program in float32."""
        files = {**self.sample.files, **edits}
        found = self._detect_by_matching(self.sample.plan, self.roles, files)
        for steps in STEPS:
            found = found or self.detect_by_numbers(files, steps)
        if found is None and self.low is not None:
            plan, files = self.low.plan, {**self.low.files, **low_edits}
            if _sends_another_type(plan) or plan.train.precision.keep_fp32:
                found = self._detect_by_matching(plan, self.low_roles, files)
            return found or self._run(self.low, plan.train.precision.compute, files, _find_excess)
        return found

    def detect_by_numbers(self, files: Files, steps: int) -> Detection | None:
        """Whether a program computes something else than the reference, in float64."""
        find = partial(_find_deviation, self._locate_reference(steps))
        return self._run(self.sample, "numbers", files, find)

    def _detect_by_matching(self, plan: Plan, roles: Sequence[Role], files: Files) -> Detection | None:
        """A rank that issues something else is preferred to one that does not come to its end."""
        with self._write(files) as folder:
            results = record_ranks(folder, plan.mesh, self.ranks, self.limit)
        departures = find_departures(plan, roles, results)
        found = [
            Detection("matching", _classify(each), describe_departure(each, ranks))
            for each, ranks in departures.items()
        ]
        return min(found, key=lambda each: get_args(Means).index(each.means), default=None)

    def _run(
        self, sample: Sample, rung: str, files: Files, find: Callable[[SampleRun], str | None]
    ) -> Detection | None:
        """The difference that `find` describes; a crash or a time-out is a detection too."""
        try:
            with self._write(files) as folder, limit_time(self.limit):
                message = find(SampleRun(sample, folder, self.dataset, self.limit))
                return Detection(rung, "difference", message) if message else None
        except RunFailed as stopped:
            if stopped.verdict == "not provable" and not stopped.timed_out:
                raise NotProvable(stopped.finding.message) from stopped
            return Detection(rung, "time-out" if stopped.timed_out else "crash", stopped.finding.message)
        except TimeLimitExceeded:
            return Detection(rung, "time-out", f"hangs: not done after {self.limit:.0f} s")

    @contextmanager
    def _write(self, files: Files) -> Iterator[Path]:
        """A new folder: in a used one, Python could load the byte code of another mutant."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            write(files, Path(folder, "program"))
            yield Path(folder, "program")

    def _locate_reference(self, steps: int) -> Path:
        return self.scratch / f"reference-{steps}.pt"


def _classify(departure: Departure) -> Means:
    if isinstance(departure, OpDifference):
        return "difference"
    return "time-out" if departure.timed_out else "crash"


def _find_deviation(reference: Path, run: SampleRun) -> str | None:
    worst = compare_program(run, reference)[0]
    if worst.what.startswith(FUNCTION):
        return worst.what.removeprefix(FUNCTION)
    amount = f"{worst.used * TOLERANCE:.1e}" if math.isfinite(worst.used) else "no number"
    return f"{worst.what} differs by {amount} in step {worst.step}" if worst.used > 1 else None


def _find_excess(run: SampleRun) -> str | None:
    return next((finding.message for finding in prove_precision(run).findings), None)


def _is_mixed(plan: Plan) -> bool:
    types = plan.train.precision
    return types.compute != types.master


def _sends_another_type(plan: Plan) -> bool:
    """Whether gradients are sent in another type than they have: in float64 they are not."""
    types = plan.train.precision
    return types.reduce != types.gradients


def _has_idle_expert(gradient: Tensor) -> bool:
    """Whether an expert, of a bank or of a list, got no token: the gradient of its matrices is zero."""
    experts = gradient if gradient.ndim > 2 else gradient.unsqueeze(0)
    return gradient.ndim > 1 and bool((experts.flatten(1).abs().amax(1) == 0).any())
