"""Random legal plans against the model on one device: every number of every rank, in float64.

Training runs of two models are drawn, and distinct plans of each on up to 16 ranks. A plan is compiled,
trained for three steps under real processes, and compared as `parc verify` compares.
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

MODELS = ("moe", "classic")
RUN = 25  # plans of one training run
STEPS = 3
TOLERANCE = 1e-9  # as the rung `numbers` has it


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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = time.perf_counter()
    runs = [
        (options.seed, model, number, min(RUN, options.plans - first))
        for number, first in enumerate(range(0, options.plans, RUN))
        for model in MODELS
    ]
    results: list[Result] = []
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        for part in pool.map(run, *zip(*runs, strict=True)):
            results += part
            worst = max(result.error for result in results)
            print(f"{len(results)} plans, differences of at most {worst:.1e}", flush=True)
    return _report(results, time.perf_counter() - start)


def run(seed: int, model: str, number: int, plans: int) -> list[Result]:
    """Some plans of one training run, the one of that number."""
    from parc.verify.numbers import expected

    text = drawn.train(Random(f"{seed} {model} {number}"), model)
    draw = Random(f"{seed} {model} {number} plans")
    results = []
    with TemporaryDirectory() as scratch:
        reference = Path(scratch) / "reference.pt"
        dataset = drawn.Tokens()
        for compiled in drawn.programs(draw, text, plans):
            if not reference.exists():
                expected(compiled.plan, compiled.captured.loaded.recipes, dataset, STEPS, reference)
            results.append(_compared(model, compiled, Path(scratch), dataset, reference))
    return results


def _compared(
    model: str, compiled: drawn.Compiled, scratch: Path, dataset: drawn.Tokens, reference: Path
) -> Result:
    from parc.emit.write import write
    from parc.verify.numbers import compare

    start = time.perf_counter()
    write(compiled.files, scratch / "program")
    ranks = compiled.plan.mesh.size
    worst = compare(ranks, scratch / "program", dataset, reference, STEPS)[0]
    seconds = time.perf_counter() - start
    return Result(model, ranks, worst.what, worst.error, seconds, compiled.text)


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
