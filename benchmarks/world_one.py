"""A step of the emitted program at world size 1 against a loop by hand: same model, batches and optimizer.

The batches lie in memory on both sides. The two take turns in one process, so that a slow moment of the
machine strikes both; the figure is the median of their ratios.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from processes import EXAMPLES
from table import Figure, show
from torch import Tensor

from parc import driver
from parc.check.load import load
from parc.plan.blocks import Plan

PLANS = Path(__file__).with_suffix(".parc")
PAIRS = {"hidden_512": 20, "hidden_64": 100}
LIMIT = {"hidden_512": 1.05, "hidden_64": 1.10}
WARM_UP = 3

Step = Callable[[int], float]  # number of the step -> its loss
Batches = list[tuple[Tensor, Tensor]]  # of each step: tokens and labels (microbatches, sequences, length)


def build_emitted(plan: str, out: Path, steps: int) -> tuple[Step, Batches]:
    """The program of a plan, and what it reads in its first steps."""
    found = driver.build(PLANS, plan, out)
    assert not found, found
    sys.path.insert(0, str(out))
    train = importlib.import_module("train")
    options = train.parse_arguments(["--out", str(out / "runs")])
    trainer = train.build_trainer(train.open_dataset(options.data, options.base), options, "cpu")
    batches = [trainer.batches.load(number) for number in range(steps)]
    own = trainer.batches
    trainer.batches = SimpleNamespace(
        load=lambda number, *_: batches[number],
        select_predicted=own.select_predicted,
        settings=own.settings,
    )
    return lambda number: trainer.step(number)["loss"], batches


def build_by_hand(arguments: dict[str, Any], batches: Batches) -> Step:
    sys.path.insert(0, str(EXAMPLES))
    model = importlib.import_module("moe").MoETransformer(**arguments)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def step(number: int) -> float:
        optimizer.zero_grad()
        total = 0.0
        tokens, labels = batches[number]
        for ids, targets in zip(tokens, labels, strict=True):
            logits, balance = model(ids)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / len(tokens)
            (loss + 0.01 / len(tokens) * balance).backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return total

    return step


def measure_seconds(step: Step, number: int) -> float:
    start = time.process_time()
    step(number)
    return time.process_time() - start


def compare(plan: Plan, pairs: int) -> None:
    """Prints the table of one plan."""
    torch.set_num_threads(1)  # one rank of many on a machine, and the steadier figure
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    with TemporaryDirectory() as folder:
        ours, batches = build_emitted(plan.name, Path(folder) / "out", WARM_UP + pairs)
        theirs = build_by_hand(dict(plan.train.model.arguments), batches)
        times = []
        for number in range(WARM_UP + pairs):
            first, second = (ours, theirs) if number % 2 else (theirs, ours)
            took = {step: measure_seconds(step, number) for step in (first, second)}
            times.append((took[ours], took[theirs]))
    dist.destroy_process_group()
    kept = times[WARM_UP:]
    ratios = [ours_took / theirs_took for ours_took, theirs_took in kept]
    low, _, high = quantiles(ratios, n=4)
    show(
        f"a step of plan {plan.name} at world size 1, {pairs} pairs",
        [
            Figure("emitted program, median", median(pair[0] for pair in kept) * 1e3, None, "ms"),
            Figure("own loop, median", median(pair[1] for pair in kept) * 1e3, None, "ms"),
            Figure("ratio, median", median(ratios), LIMIT[plan.name]),
            Figure("ratio, quartiles: lower", low, None),
            Figure("ratio, quartiles: upper", high, None),
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", nargs="*", help="some of them")
    options = parser.parse_args()
    for plan in load(PLANS, ()).plans:
        if not options.plans or plan.name in options.plans:  # each has a program of its own, of the same name
            child = get_context("fork").Process(target=compare, args=(plan, PAIRS[plan.name]))
            child.start()
            child.join()
            assert child.exitcode == 0


if __name__ == "__main__":
    main()
