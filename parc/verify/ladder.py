"""The rungs of the proof, in order: what a program sends, what it computes, what would have been noticed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeAlias

import torch

from parc.capture.user_model import Faulty
from parc.emit.program import Files
from parc.emit.write import write
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.verify.execution.watchdog import Stopped
from parc.verify.matching.rung import matching
from parc.verify.mutants.rung import mutants
from parc.verify.numbers.rung import equal
from parc.verify.precision.rung import lowered
from parc.verify.report import NotProvable, Rung
from parc.verify.sample.choose import RANKS, Sample, sample
from parc.verify.sample.compile import Compute, Low
from parc.verify.sample.merge_edits import carried
from parc.verify.sample.tokens import Tokens
from parc.verify.sample.uneven_routing import skewed

Name: TypeAlias = Literal["matching", "numbers", "fp32", "bf16", "mutants"]
RUNGS: tuple[Name, ...] = ("matching", "numbers", "fp32", "bf16", "mutants")
FEW = 16  # ranks where the layout is not what is proved


@dataclass(frozen=True)
class Subject:
    """What is proved: a plan, its compiled program, and the folder as it stands, edited or not."""

    plan: Plan
    program: Program
    files: Files  # as emitted
    folder: Path


@dataclass(frozen=True)
class Climb:
    """How far, and how."""

    rungs: tuple[Name, ...]
    seed: int = 0
    timeout: float = 300.0  # seconds, of a step
    device: str = "cpu"
    progress: Callable[[str], None] = lambda _: None  # hears a line of a long rung now and then


def usual(plan: Plan, device: str) -> tuple[Name, ...]:
    """The rungs that are climbed unless others are asked for."""
    low = plan.train.precision.compute == "bf16" or device == "cuda"
    return ("matching", "numbers", "fp32", *(("bf16",) if low else ()))


def climb(subject: Subject, how: Climb) -> Iterator[Rung]:
    """Each rung as it is reached, up to the first that refutes the program."""
    for name in RUNGS:
        if name in how.rungs:
            start = perf_counter()
            rung = replace(_rung(name, subject, how), seconds=perf_counter() - start)
            yield rung
            if rung.verdict == "refuted":
                return


def _rung(name: Name, subject: Subject, how: Climb) -> Rung:
    try:
        return _CLIMBED[name](subject, how)
    except NotProvable as reason:
        return Rung(name, "not provable", (str(reason),))
    except Faulty as faulty:
        why = (
            f"the program that is run in its place cannot be built: {each.message}"
            for each in faulty.diagnostics
        )
        return Rung(name, "not provable", tuple(why))
    except Exception as fault:  # noqa: BLE001 - a fault of parc's says nothing of the program
        said = f"{type(fault).__name__}: {fault}"
        return Rung(name, "not provable", (f"parc itself has failed, which is a fault of parc's: {said}",))


def _matching(subject: Subject, how: Climb) -> Rung:
    return matching(subject.plan, subject.program, subject.folder, seed=how.seed, timeout=how.timeout)


def _numbers(subject: Subject, how: Climb) -> Rung:
    def compared(made: Sample, folder: Path, tokens: Tokens) -> Rung:
        return equal(made.trial, folder, tokens, how.timeout)

    return _run("numbers", subject, how, "fp64", RANKS, compared)


def _fp32(subject: Subject, how: Climb) -> Rung:
    return _low("fp32", subject, how, "cpu")


def _bf16(subject: Subject, how: Climb) -> Rung:
    return _low("bf16", subject, how, how.device)


def _low(compute: Low, subject: Subject, how: Climb, device: str) -> Rung:
    def compared(made: Sample, folder: Path, tokens: Tokens) -> Rung:
        return lowered(made.trial, folder, tokens, compute, how.timeout, device)

    return _run(compute, subject, how, compute, _ranks(device), compared)


def _ranks(device: str) -> int:
    """At most. On GPUs, as many as there are, if a mesh of the plan's kind is that small."""
    if device != "cuda":
        return FEW
    if not (gpus := torch.cuda.device_count()):
        built = "" if torch.version.cuda else ": this torch is built without CUDA"
        raise NotProvable(f"no GPU is here that torch can use{built}")
    return min(FEW, gpus)


def _run(
    name: Name,
    subject: Subject,
    how: Climb,
    compute: Compute,
    ranks: int,
    compared: Callable[[Sample, Path, Tokens], Rung],
) -> Rung:
    """A rung that runs the program on a sample of its plan, with the folder's edits."""
    made = sample(subject.plan, compute, ranks)
    edited = carried(subject.files, subject.folder, made.trial.files)
    tokens, routing = skewed(made.trial, how.seed)
    told = (*made.told, routing)
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        folder = Path(scratch) / "program"
        write(edited.files, folder)
        try:
            rung = compared(made, folder, tokens)
        except Stopped as stopped:
            return Rung(name, stopped.verdict, told, (edited.finding(stopped.finding),))
    findings = tuple(edited.finding(found) for found in rung.findings)
    return replace(rung, compared=(*told, *rung.compared), findings=findings)


def _mutants(subject: Subject, how: Climb) -> Rung:
    """Of the program as it was emitted: what is asked is whether the rungs would notice."""
    made, low = (sample(subject.plan, compute, FEW) for compute in _BOTH)
    tokens, _ = skewed(made.trial, how.seed)
    rung = mutants(made.trial, low.trial, tokens, seed=how.seed, progress=how.progress)
    return replace(rung, compared=(*made.told, *rung.compared))


_BOTH: tuple[Compute, Compute] = ("fp64", "fp32")


_CLIMBED: Mapping[Name, Callable[[Subject, Climb], Rung]] = {
    "matching": _matching,
    "numbers": _numbers,
    "fp32": _fp32,
    "bf16": _bf16,
    "mutants": _mutants,
}
