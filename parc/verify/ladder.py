"""The rungs of the proof, in order: the operations that are issued, the numbers, the known bugs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeAlias

import torch

from parc.capture.source_lines import read_message
from parc.diagnostic import CompileError
from parc.emit.program import Files
from parc.emit.scratch import make_temporary
from parc.emit.write import write
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.verify.execution.diagnose import RunFailed
from parc.verify.matching.rung import prove_matching
from parc.verify.mutants.rung import prove_mutants, run_mutants
from parc.verify.numbers.rung import prove_numbers
from parc.verify.precision.rung import prove_precision
from parc.verify.report import NotProvable, Rung
from parc.verify.sample.choose import RANKS, choose_sample
from parc.verify.sample.merge_edits import merge_edits
from parc.verify.sample.sample import LowPrecision, SampleRun
from parc.verify.sample.tokens import choose_tokens

RungName: TypeAlias = Literal["matching", "numbers", "fp32", "bf16", "mutants"]
RUNGS: tuple[RungName, ...] = ("matching", "numbers", "fp32", "bf16", "mutants")
FEW = 16  # ranks of the rungs that do not prove the layout


@dataclass(frozen=True)
class ProgramUnderTest:
    """A plan, its compiled program, and the folder to be proved, which may be edited."""

    plan: Plan
    program: Program
    files: Files  # as emitted
    folder: Path


@dataclass(frozen=True)
class ProofOptions:
    """Which rungs are run, and how. `progress` is called with a line of a long rung from time to time."""

    rungs: tuple[RungName, ...]
    seed: int = 0
    timeout: float = 300.0  # seconds, of a step
    device: str = "cpu"
    progress: Callable[[str], None] = lambda _: None


def choose_rungs(plan: Plan, device: str) -> tuple[RungName, ...]:
    """The rungs that are run unless others are asked for."""
    low = plan.train.precision.compute == "bf16" or device == "cuda"
    return ("matching", "numbers", "fp32", *(("bf16",) if low else ()))


def run_rungs(tested: ProgramUnderTest, options: ProofOptions) -> Iterator[Rung]:
    """The result of each rung when it is known, up to the first that refutes the program."""
    for name in RUNGS:
        if name in options.rungs:
            start = perf_counter()
            rung = replace(_run_rung(name, tested, options), seconds=perf_counter() - start)
            yield rung
            if rung.verdict == "refuted":
                return


def _run_rung(name: RungName, tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    try:
        if name == "matching":
            plan, program, folder = tested.plan, tested.program, tested.folder
            return prove_matching(plan, program, folder, seed=options.seed, timeout=options.timeout)
        return _prove_mutants(tested, options) if name == "mutants" else _run_sample(name, tested, options)
    except NotProvable as reason:
        return Rung(name, "not provable", (str(reason),))
    except CompileError as faulty:
        why = "the program that is run in its place cannot be built"
        return Rung(name, "not provable", tuple(f"{why}: {each.message}" for each in faulty.diagnostics))
    except Exception as fault:  # noqa: BLE001 - an error of parc tells nothing about the program
        failure = f"{type(fault).__name__}: {read_message(fault)}"
        return Rung(name, "not provable", (f"parc itself has failed, which is an error of parc: {failure}",))


def _run_sample(
    name: Literal["numbers", "fp32", "bf16"], tested: ProgramUnderTest, options: ProofOptions
) -> Rung:
    """Runs a rung on a sample with the edits of the folder. Its findings have the lines of that folder."""
    device = options.device if name == "bf16" else "cpu"
    if name == "numbers":
        sample = choose_sample(tested.plan, "fp64", RANKS)
    else:
        sample = choose_sample(tested.plan, name, _limit_ranks(device))
    merged = merge_edits(tested.files, tested.folder, sample.files)
    tokens, routing = choose_tokens(sample, options.seed)
    with make_temporary() as scratch:
        folder = scratch / "program"
        write(merged.files, folder)
        run = SampleRun(sample, folder, tokens, options.timeout, device)
        try:
            rung = prove_numbers(run) if name == "numbers" else prove_precision(run)
        except RunFailed as stopped:
            rung = Rung(name, stopped.verdict, (), (stopped.finding,))
    findings = tuple(map(merged.translate, rung.findings))
    return replace(rung, compared=(*sample.notes, routing, *rung.compared), findings=findings)


def _limit_ranks(device: str) -> int:
    """The most ranks for a rung in low precision: on GPUs, at most one for each."""
    if device != "cuda":
        return FEW
    if not (gpus := torch.cuda.device_count()):
        built = "" if torch.version.cuda else ": this torch is built without CUDA"
        raise NotProvable(f"there is no GPU that torch can use{built}")
    return min(FEW, gpus)


def _prove_mutants(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    """Of the program as it was emitted: the question is whether the rungs would detect a bug."""
    lower: LowPrecision = "bf16" if tested.plan.train.precision.compute == "bf16" else "fp32"
    sample, low = choose_sample(tested.plan, "fp64", FEW), choose_sample(tested.plan, lower, FEW)
    tokens, _ = choose_tokens(sample, options.seed)
    outcomes = run_mutants(sample, low, tokens, seed=options.seed, progress=options.progress)
    rung = prove_mutants(list(outcomes))
    return replace(rung, compared=(*sample.notes, *rung.compared))
