"""Random legal plans against the model on one device: every number of every rank, in float64.

Training runs of two models are drawn, and distinct plans of each on up to 16 ranks. A plan is compiled,
trained for three steps under real processes, and compared as `parc verify` does it.
"""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import drawn
from table import Figure, show

from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.verify.execution.diagnose import RunFailed
from parc.verify.execution.watchdog import run_ranks
from parc.verify.numbers.compare import Deviation, compare_rank, save_reference
from parc.verify.numbers.reference import Reference
from parc.verify.numbers.tolerance import TOLERANCE
from parc.verify.sample.tokens import Tokens

MODELS = ("moe", "classic")
RUN = 25  # plans of one training run
STEPS = 3
TIMEOUT = 600.0  # seconds, of a step


class Result(NamedTuple):
    """One plan: what differs most from one device."""

    model: str
    ranks: int
    what: str
    error: float
    seconds: float
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=500, help="of each model")
    parser.add_argument("--first", type=int, default=0, help="training run, to go on where a run has ended")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = time.perf_counter()
    runs = [
        (options.seed, model, number, min(RUN, options.plans - first))
        for number, first in enumerate(range(0, options.plans, RUN))
        for model in MODELS
        if number >= options.first
    ]
    results: list[Result] = []
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        for (_, model, number, _), part in zip(runs, pool.map(run, *zip(*runs, strict=True)), strict=True):
            results += part
            worst = max(result.error for result in results)
            done = f"training run {number} of `{model}` is done"
            print(f"{done}: {len(results)} plans, differences of at most {worst:.1e}", flush=True)
    return _report(results, time.perf_counter() - start)


def run(seed: int, model: str, number: int, plans: int, most: int = drawn.RANKS[-1]) -> list[Result]:
    """Some plans of one training run, the one of that number, on up to `most` ranks."""
    text = drawn.train(Random(f"{seed} {model} {number}"), model)
    draw = Random(f"{seed} {model} {number} plans")
    programs = list(drawn.programs(draw, text, plans, most))
    first = programs[0]
    results = []
    with TemporaryDirectory() as scratch:
        reference = Path(scratch) / "reference.pt"
        on_one_device = Reference(first.plan, first.captured, Tokens(drawn.VOCABULARY))
        save_reference(on_one_device, STEPS, reference)
        for world in sorted({program.plan.mesh.size for program in programs}):
            same = [program for program in programs if program.plan.mesh.size == world]
            results += _compare_programs(model, world, same, Path(scratch) / str(world), reference)
    return results


def _compare_programs(
    model: str, world: int, programs: list[drawn.Compiled], scratch: Path, reference: Path
) -> list[Result]:
    """The programs of one size, one after the other in the same processes: to start them takes longest."""
    start = time.perf_counter()
    folders = [scratch / f"program-{number}" for number in range(len(programs))]
    for folder, program in zip(folders, programs, strict=True):
        write(program.files, folder)
    try:
        plans = [program.plan for program in programs]
        ranks = run_ranks(world, scratch, _compare_rank, folders, plans, reference, timeout=TIMEOUT)
    except RunFailed as stopped:
        texts = "".join(program.text for program in programs)
        raise RuntimeError(f"one of these plans fails: {texts}\n{stopped}\n{stopped.finding}") from None
    seconds = (time.perf_counter() - start) / len(programs)
    print(f"{len(programs)} plans of `{model}` on {world} ranks: {seconds:.1f} s each", flush=True)
    results = []
    for program, deviations in zip(programs, zip(*ranks, strict=True), strict=True):
        worst = max(deviations, key=lambda deviation: deviation.used)
        results.append(Result(model, world, worst.what, worst.used * TOLERANCE, seconds, program.text))
    return results


def _compare_rank(folders: list[Path], plans: list[Plan], reference: Path) -> list[Deviation]:
    """The largest deviation of one rank in each program."""
    tokens = Tokens(drawn.VOCABULARY)
    pairs = zip(folders, plans, strict=True)
    found = (compare_rank(folder, tokens, reference, plan) for folder, plan in pairs)
    return [max(deviations, key=lambda deviation: deviation.used) for deviations in found]


def _report(results: list[Result], seconds: float) -> int:
    wrong = [result for result in results if not result.error < TOLERANCE]
    for result in wrong:
        print(f"{result.what} differs by {result.error:.1e}:\n{result.text}")
    for model in MODELS:
        its = [result for result in results if result.model == model]
        worst = max(its, key=lambda result: result.error)
        show(
            f"random plans of `{model}`, {STEPS} steps in float64",
            [
                Figure("plans", len(its), None),
                Figure("ranks, at most", max(result.ranks for result in its), None),
                Figure("ranks, median", median(result.ranks for result in its), None),
                Figure(f"largest difference ({worst.what})", worst.error, TOLERANCE),
                Figure("plans that differ", sum(result.model == model for result in wrong), 0),
                Figure("a plan, median", median(result.seconds for result in its), None, "s"),
            ],
        )
    print(f"\n{len(results)} plans in {seconds / 60:.1f} minutes")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
