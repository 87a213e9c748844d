"""Random legal plans through the translation validation: none may be refused, all must be compared.

The same training runs and plans as those of `random_plans.py`, which trains them under real processes.
"""

from __future__ import annotations

import argparse
import time
from random import Random
from typing import NamedTuple

import drawn
from table import Figure, show

from parc.verify.validation.validate import validate

MODELS = ("moe", "classic")
RUN = 25  # plans of one training run


class Result(NamedTuple):
    """One plan: its largest difference, or what was reported in place of one."""

    text: str
    difference: float | None
    reported: tuple[str, ...]
    seconds: float  # of CPU


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", type=int, default=1000, help="of each model")
    parser.add_argument("--first", type=int, default=0, help="training run, to go on where a run has ended")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results: list[Result] = []
    for number in range(options.first, options.plans // RUN):
        for model in MODELS:
            results += run(options.seed, model, number, RUN)
        print(f"{len(results)} plans, {sum(bool(each.reported) for each in results)} reported", flush=True)
    return _report(results)


def run(seed: int, model: str, number: int, plans: int) -> list[Result]:
    """Some plans of one training run, the one of that number."""
    text = drawn.train(Random(f"{seed} {model} {number}"), model)
    draw = Random(f"{seed} {model} {number} plans")
    return [_validate(program) for program in drawn.programs(draw, text, plans)]


def _validate(program: drawn.Compiled) -> Result:
    begun = time.process_time()
    found, diagnostics = validate(program.plan, program.files, program.captured.shapes)
    reported = tuple(f"{each.code} {each.message}" for each in diagnostics)
    seconds = time.process_time() - begun
    return Result(program.text, found.largest if found else None, reported, seconds)


def _report(results: list[Result]) -> int:
    for result in results:
        if result.reported:
            print("\n".join(result.reported), result.text, sep="\n")
    compared = [result.difference for result in results if result.difference is not None]
    show(
        "random plans through the validation",
        [
            Figure("plans", len(results), None),
            Figure("plans that are reported", sum(bool(each.reported) for each in results), 0),
            Figure("largest difference", max(compared, default=0.0), 1e-9),
            Figure("a plan, mean", sum(each.seconds for each in results) / len(results), None, "s"),
        ],
    )
    return int(len(compared) < len(results))


if __name__ == "__main__":
    raise SystemExit(main())
