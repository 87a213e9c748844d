"""Known silent bugs in the programs of `mutants.parc`: how many there are, and which rung detects each."""

from __future__ import annotations

import argparse
import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from table import Figure, show

if TYPE_CHECKING:
    from parc.runtime.data.datasets import Dataset
    from parc.verify.mutants.outcome import Outcome
    from parc.verify.sample.sample import Sample

PLANS = Path(__file__).with_suffix(".parc")
VOCABULARY = 32  # of both models
SITES = 2  # of a class in a plan


def main() -> int:
    from parc.check.load import load
    from parc.verify.mutants.outcome import format_table, list_reasons

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", nargs="*", help="some of them, to go on where a run has ended")
    parser.add_argument("--sites", type=int, default=SITES, help="of a class in a plan, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = time.perf_counter()
    names = options.plans or [plan.name for plan in load(PLANS, ()).plans]
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        parts = pool.map(partial(_run_plan, options.seed, options.sites), names)
        found = [outcome for part in parts for outcome in part]
    print("\n".join((*format_table(found), *list_reasons(found))))
    run = [outcome for outcome in found if outcome.mutant.run]
    survivors = [outcome for outcome in found if outcome.survived]
    for outcome in survivors:
        print(f"not detected: {outcome.bug}, {outcome.mutant.site}")
    figures = [
        Figure("classes", len({outcome.bug for outcome in run}), None),
        Figure("mutants", len(run), None),
        Figure("of unlike site", len({(outcome.bug, outcome.mutant.site) for outcome in run}), None),
        Figure("that nothing detects", len(survivors), 0),
    ]
    show(f"mutants of {len(names)} plans in {(time.perf_counter() - start) / 60:.0f} minutes", figures)
    return bool(survivors)


def compile_plan(name: str) -> tuple[Sample, Sample]:
    """A plan of `mutants.parc`, in float64, and in what it computes in."""
    from parc.check.load import choose, load
    from parc.diagnostic import Diagnostic
    from parc.verify.sample.sample import compile_sample

    plan = choose(load(PLANS, ()), name)
    assert not isinstance(plan, Diagnostic), plan
    return compile_sample(plan), compile_sample(plan, plan.train.precision.compute)


def build_tokens() -> Dataset:
    from parc.verify.sample.tokens import Tokens

    return Tokens(VOCABULARY)


def _run_plan(seed: int, sites: int, name: str) -> list[Outcome]:
    """The outcomes of one plan."""
    from parc.verify.mutants.rung import run_mutants

    def progress(line: str) -> None:
        print(f"{name}: {line}", flush=True)

    samples = compile_plan(name)
    return list(run_mutants(*samples, build_tokens(), seed=seed, sites=sites, progress=progress))


if __name__ == "__main__":
    raise SystemExit(main())
