"""One mutant through the rungs, the cheap ones first, until one of them notices."""

from __future__ import annotations

import math
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, NoReturn, TypeAlias, get_args

import torch
from torch import Tensor

from parc.emit.program import Files
from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.trace.derive import derive
from parc.verify.execution.watchdog import Stopped
from parc.verify.matching.record_rank import Ended
from parc.verify.matching.record_ranks import record
from parc.verify.matching.rung import Apart, departures, ends, said
from parc.verify.mutants.target import Subject
from parc.verify.numbers.compare import compare, expected
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.precision.rung import lowered
from parc.verify.report import NotProvable
from parc.verify.sample.compile import Trial
from parc.verify.sample.tokens import batches

STEPS = (1, 3)  # what is wrong is mostly so in the first one
OWN = 900.0  # seconds that the program itself may take
SLACK = 5.0  # how much longer than the program itself a mutant may take before it is taken to hang


By: TypeAlias = Literal["difference", "crash", "time-out"]


class Notice(NamedTuple):
    """How a program was seen to be wrong: what it does is different, or it does not come to its end."""

    by: By
    how: str


@dataclass(frozen=True)
class Caught:
    """The rung that noticed a mutant, and how."""

    rung: str
    notice: Notice

    def __str__(self) -> str:
        return f"{self.rung}, by {self.notice.by}: {self.notice.how}"


class Judge:
    """Holds programs against those of a trial. The reference is computed once.

    `low` is the same plan's trial in float32, `timeout` the seconds that a mutant may take at least.
    """

    def __init__(
        self, trial: Trial, low: Trial | None, dataset: Dataset, scratch: Path, *, timeout: float
    ) -> None:
        self.trial, self.low, self.dataset, self.scratch = trial, low, dataset, scratch
        self.ranks = sorted({rank for pair in ends(trial.plan) for rank in pair})
        self.roles = derive(trial.plan, trial.program, first=True)
        self.least, self.limit = timeout, OWN
        recipes = trial.captured.loaded.recipes
        expected(trial.plan, recipes, dataset, STEPS[-1], self._reference(STEPS[-1]))
        steps = torch.load(self._reference(STEPS[-1]), weights_only=True)
        torch.save(steps[: STEPS[0]], self._reference(STEPS[0]))
        self.idle = any(_idle(gradient) for step in steps for gradient in step["gradients"].values())

    def subject(self) -> Subject:
        """The program for bugs to be injected into, and what can be told of them here."""
        return Subject(
            self.trial,
            idle=self.idle,
            uneven=_uneven(self.trial.plan, self.dataset),
            low=self.low is not None,
        )

    def own(self) -> Caught | None:
        """Holds the program against itself: an alarm would be false. Sets the time for mutants."""
        start = time.monotonic()
        found = self.judged({}, {})
        self.limit = max(self.least, SLACK * (time.monotonic() - start))
        return found

    def judged(self, edits: Files, low_edits: Files) -> Caught | None:
        """The first rung that notices edits of the program, and of the one in float32."""
        files = {**self.trial.files, **edits}
        if notice := self._issued(files):
            return Caught("matching", notice)
        for steps in STEPS:
            if notice := self.computed(files, steps):
                return Caught("numbers", notice)
        if self.low is not None and (notice := self._lowered(self.low, {**self.low.files, **low_edits})):
            return Caught("fp32", notice)
        return None

    def computed(self, files: Files, steps: int) -> Notice | None:
        """What a program computes otherwise than the reference, in float64."""
        with self._running(files) as folder, self._limited() as ended:
            arguments = (folder, self.dataset, self._reference(steps), steps, self.limit)
            worst = compare(self.trial.plan.mesh.size, *arguments)[0]
        if ended:
            return ended[0]
        if worst.error <= TOLERANCE:
            return None
        amount = f"{worst.error:.1e}" if math.isfinite(worst.error) else "no number"
        return Notice("difference", f"{worst.what} differs by {amount} in step {worst.step}")

    def _issued(self, files: Files) -> Notice | None:
        """A rank that issues something else tells more than one that comes to no end."""
        plan = self.trial.plan
        with self._running(files) as folder:
            results = record(folder, plan.mesh, self.ranks, self.limit)
        found = departures(plan, self.roles, results)
        notices = [Notice(_by(each), said(each, ranks)) for each, ranks in found.items()]
        return min(notices, key=lambda notice: get_args(By).index(notice.by), default=None)

    def _lowered(self, low: Trial, files: Files) -> Notice | None:
        with self._running(files) as folder, self._limited() as ended:
            rung = lowered(low, folder, self.dataset, "fp32", self.limit, "cpu")
        if ended:
            return ended[0]
        return Notice("difference", rung.findings[0].message) if rung.findings else None

    @contextmanager
    def _running(self, files: Files) -> Iterator[Path]:
        """A folder of its own: the byte code of another mutant would be taken for that of this one."""
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            write(files, Path(folder, "program"))
            yield Path(folder, "program")

    @contextmanager
    def _limited(self) -> Iterator[list[Notice]]:
        """Stops the ranks when the time is over; the list then says so, or that one has failed."""
        ended: list[Notice] = []
        try:
            with _alarm(self.limit):
                yield ended
        except Stopped as stopped:
            if stopped.verdict == "not provable" and not stopped.late:
                raise NotProvable(stopped.finding.message) from stopped
            ended.append(Notice("time-out" if stopped.late else "crash", stopped.finding.message))
        except _Hangs:
            ended.append(Notice("time-out", f"hangs: not done after {self.limit:.0f} s"))

    def _reference(self, steps: int) -> Path:
        return self.scratch / f"reference-{steps}.pt"


def _by(found: Apart | Ended) -> By:
    if isinstance(found, Apart):
        return "difference"
    return "time-out" if found.late else "crash"


def _uneven(plan: Plan, dataset: Dataset) -> bool:
    """Whether data ranks have unlike numbers of labels in some step that is compared."""
    train, ranks = plan.train, plan.mesh.product(plan.data.axes if plan.data else ())
    seen = batches(train, dataset)

    def labels(step: int, rank: int) -> int:
        predicted = seen.predicted(seen.step(step, rank, ranks)[1])
        return int((predicted != train.loss.ignore_index).sum())

    return any(len({labels(step, rank) for rank in range(ranks)}) > 1 for step in range(STEPS[-1]))


def _idle(gradient: Tensor) -> bool:
    """Whether some expert of a bank, or one of a list, has had no token: its matrices' gradient is zero."""
    experts = gradient if gradient.ndim > 2 else gradient.unsqueeze(0)
    return gradient.ndim > 1 and bool((experts.flatten(1).abs().amax(1) == 0).any())


class _Hangs(BaseException):
    """The time is over."""


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raises in the main thread when the time is over."""

    def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Hangs

    before: Any = signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
