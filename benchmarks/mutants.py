"""Known silent bugs in the programs of `mutants.parc`: how many there are, and which rung notices each."""

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
    from parc.runtime.data import Dataset
    from parc.verify.mutants.outcome import Outcome
    from parc.verify.sample.compile import Trial

PLANS = Path(__file__).with_suffix(".parc")
VOCABULARY = 32  # of both models
SITES = 2  # of a class in a plan
TIMEOUT = 60.0  # seconds after which a mutant hangs


def main() -> int:
    from parc.check.load import load
    from parc.verify.mutants.outcome import reasons, table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", nargs="*", help="some of them, to go on where a run has ended")
    parser.add_argument("--sites", type=int, default=SITES, help="of a class in a plan, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    start = time.perf_counter()
    names = options.plans or [plan.name for plan in load(PLANS, ()).plans]
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        parts = pool.map(partial(_outcomes, options.seed, options.sites), names)
        found = [outcome for part in parts for outcome in part]
    print("\n".join((*table(found), *reasons(found))))
    run = [outcome for outcome in found if outcome.mutant.run]
    survivors = [outcome for outcome in found if outcome.survived]
    for outcome in survivors:
        print(f"not noticed: {outcome.bug}, {outcome.mutant.site}")
    figures = [
        Figure("classes", len({outcome.bug for outcome in run}), None),
        Figure("mutants", len(run), None),
        Figure("of unlike site", len({(outcome.bug, outcome.mutant.site) for outcome in run}), None),
        Figure("that nothing notices", len(survivors), 0),
    ]
    show(f"mutants of {len(names)} plans in {(time.perf_counter() - start) / 60:.0f} minutes", figures)
    return bool(survivors)


def trials(name: str) -> tuple[Trial, Trial]:
    """A plan of `mutants.parc`, in float64 and in float32."""
    from parc.check.load import choose, load
    from parc.diagnostic import Diagnostic
    from parc.verify.sample.compile import trial

    plan = choose(load(PLANS, ()), name)
    assert not isinstance(plan, Diagnostic), plan
    return trial(plan), trial(plan, "fp32")


def tokens() -> Dataset:
    from parc.verify.sample.tokens import Tokens

    return Tokens(VOCABULARY)


def _outcomes(seed: int, sites: int, name: str) -> list[Outcome]:
    """Of one plan."""
    from parc.verify.mutants.rung import outcomes

    def progress(line: str) -> None:
        print(f"{name}: {line}", flush=True)

    made = trials(name)
    found = outcomes(*made, tokens(), seed=seed, timeout=TIMEOUT, sites=sites, progress=progress)
    return list(found)


if __name__ == "__main__":
    raise SystemExit(main())
