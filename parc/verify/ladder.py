"""The rungs of the proof, in order: the operations that are issued, the numbers, the known bugs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Literal, TypeAlias

import torch

from parc.diagnostic import CompileError
from parc.emit.program import Files
from parc.emit.write import write
from parc.ir.program import Program
from parc.plan.blocks import Plan
from parc.verify.execution.diagnose import Stopped
from parc.verify.matching.rung import prove_matching
from parc.verify.mutants.rung import prove_mutants
from parc.verify.numbers.rung import prove_numbers
from parc.verify.precision.rung import prove_precision
from parc.verify.report import NotProvable, Rung
from parc.verify.sample.choose import RANKS, choose_sample
from parc.verify.sample.compile import LowPrecision, Sample
from parc.verify.sample.merge_edits import merge_edits
from parc.verify.sample.tokens import Tokens
from parc.verify.sample.uneven_routing import choose_tokens

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
        return _PROVE[name](tested, options)
    except NotProvable as reason:
        return Rung(name, "not provable", (str(reason),))
    except CompileError as faulty:
        why = "the program that is run in its place cannot be built"
        return Rung(name, "not provable", tuple(f"{why}: {each.message}" for each in faulty.diagnostics))
    except Exception as fault:  # noqa: BLE001 - an error of parc tells nothing about the program
        failure = f"{type(fault).__name__}: {fault}"
        return Rung(name, "not provable", (f"parc itself has failed, which is an error of parc: {failure}",))


def _prove_matching(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    return prove_matching(
        tested.plan, tested.program, tested.folder, seed=options.seed, timeout=options.timeout
    )


def _prove_numbers(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    sample = choose_sample(tested.plan, "fp64", RANKS)
    return _run_sample("numbers", sample, tested, options, partial(prove_numbers, timeout=options.timeout))


def _prove_fp32(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    return _prove_precision("fp32", "cpu", tested, options)


def _prove_bf16(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    return _prove_precision("bf16", options.device, tested, options)


def _prove_precision(
    compute: LowPrecision, device: str, tested: ProgramUnderTest, options: ProofOptions
) -> Rung:
    sample = choose_sample(tested.plan, compute, _limit_ranks(device))
    prove = partial(prove_precision, precision=compute, timeout=options.timeout, device=device)
    return _run_sample(compute, sample, tested, options, prove)


def _limit_ranks(device: str) -> int:
    """The most ranks for a rung in low precision: on GPUs, at most one for each."""
    if device != "cuda":
        return FEW
    if not (gpus := torch.cuda.device_count()):
        built = "" if torch.version.cuda else ": this torch is built without CUDA"
        raise NotProvable(f"there is no GPU that torch can use{built}")
    return min(FEW, gpus)


def _run_sample(
    name: RungName,
    sample: Sample,
    tested: ProgramUnderTest,
    options: ProofOptions,
    prove: Callable[[Sample, Path, Tokens], Rung],
) -> Rung:
    """Runs a rung on a sample with the edits of the folder; the result, in the lines of that folder."""
    merged = merge_edits(tested.files, tested.folder, sample.files)
    tokens, routing = choose_tokens(sample, options.seed)
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        folder = Path(scratch) / "program"
        write(merged.files, folder)
        try:
            rung = prove(sample, folder, tokens)
        except Stopped as stopped:
            rung = Rung(name, stopped.verdict, (), (stopped.finding,))
    findings = tuple(map(merged.translate, rung.findings))
    return replace(rung, compared=(*sample.notes, routing, *rung.compared), findings=findings)


def _prove_mutants(tested: ProgramUnderTest, options: ProofOptions) -> Rung:
    """Of the program as it was emitted: the question is whether the rungs would notice a bug."""
    sample, low = choose_sample(tested.plan, "fp64", FEW), choose_sample(tested.plan, "fp32", FEW)
    tokens, _ = choose_tokens(sample, options.seed)
    rung = prove_mutants(sample, low, tokens, seed=options.seed, progress=options.progress)
    return replace(rung, compared=(*sample.notes, *rung.compared))


_PROVE: Mapping[RungName, Callable[[ProgramUnderTest, ProofOptions], Rung]] = {
    "matching": _prove_matching,
    "numbers": _prove_numbers,
    "fp32": _prove_fp32,
    "bf16": _prove_bf16,
    "mutants": _prove_mutants,
}
