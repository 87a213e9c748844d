"""A step of the emitted program at world size 1 against loops by hand: same batches and optimizer.

One loop trains the user's model; the other trains the emitted modules themselves, so that it differs from the
program in the trainer alone. The batches lie in memory everywhere. The three take turns in one process of one
thread, and times are of its CPU, so that other processes do not count; the figures are medians of ratios.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from itertools import permutations
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
from torch import Tensor, nn

from parc import driver
from parc.check.load import load
from parc.plan.blocks import Plan

PLANS = Path(__file__).with_suffix(".parc")
ROUNDS = {"hidden_512": 18, "hidden_64": 96}
LIMIT = {"hidden_512": 1.05, "hidden_64": 1.10}
WARM_UP = 3
BALANCE = 0.01

Step = Callable[[int], float]  # number of the step -> its loss
Batches = list[tuple[Tensor, Tensor]]  # of each step: tokens and labels (microbatches, sequences, length)
Losses = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # mean loss and balance loss of a microbatch


def build_emitted(plan: str, out: Path, steps: int) -> tuple[Any, Batches]:
    """The trainer of a plan's program, and what it reads in its first steps."""
    found = driver.build(PLANS, plan, out).diagnostics
    assert not found, found
    sys.path.insert(0, str(out))
    train = importlib.import_module("train")
    options = train.parse_arguments(["--out", str(out / "runs")])
    trainer = train.build_trainer(train.open_dataset(options.data, options.base), options, "cpu")
    own = trainer.batches
    batches = [own.load(number) for number in range(steps)]
    trainer.batches = SimpleNamespace(
        load=lambda number, *_: batches[number], select_predicted=own.select_predicted, settings=own.settings
    )
    return trainer, batches


def build_loop(model: nn.Module, losses: Losses, batches: Batches) -> Step:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True
    )

    def step(number: int) -> float:
        optimizer.zero_grad()
        total = 0.0
        tokens, labels = batches[number]
        for ids, targets in zip(tokens, labels, strict=True):
            loss, balance = losses(ids, targets)
            ((loss + BALANCE * balance) / len(tokens)).backward()  # type: ignore[no-untyped-call]
            total += loss.item() / len(tokens)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return total

    return step


def build_steps(plan: Plan, out: Path, steps: int) -> dict[str, Step]:
    trainer, batches = build_emitted(plan.name, out, steps)
    sys.path.insert(0, str(EXAMPLES))
    model = importlib.import_module("moe").MoETransformer(**dict(plan.train.model.arguments))

    def of_model(tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits, balance = model(tokens)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()), balance

    def of_stage(tokens: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss, balance = trainer.stages[0](tokens, labels=labels)  # the sum over tokens
        return loss / labels.numel(), balance

    return {
        "emitted program": lambda number: trainer.step(number)["loss"],
        "user's model in a loop": build_loop(model, of_model, batches),
        "emitted modules in a loop": build_loop(trainer.stages[0], of_stage, batches),
    }


def measure_seconds(step: Step, number: int) -> float:
    start = time.process_time()
    step(number)
    return time.process_time() - start


def compare(plan: Plan, rounds: int) -> None:
    """Prints the table of one plan."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    with TemporaryDirectory() as folder:
        steps = build_steps(plan, Path(folder) / "out", WARM_UP + rounds)
        orders = list(permutations(steps))
        times = [
            {name: measure_seconds(steps[name], number) for name in orders[number % len(orders)]}
            for number in range(WARM_UP + rounds)
        ][WARM_UP:]
    dist.destroy_process_group()
    emitted, *loops = steps
    figures = [Figure(name, median(each[name] for each in times) * 1e3, None, "ms") for name in steps]
    for name in loops:
        ratios = [each[emitted] / each[name] for each in times]
        low, _, high = quantiles(ratios, n=4)
        figures += [
            Figure(f"ratio to the {name}", median(ratios), LIMIT[plan.name]),
            Figure("  quartiles: lower", low, None),
            Figure("  quartiles: upper", high, None),
        ]
    show(f"a step of plan {plan.name} at world size 1, {rounds} rounds", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plans", nargs="*", help="some of them")
    options = parser.parse_args()
    for plan in load(PLANS, ()).plans:
        if not options.plans or plan.name in options.plans:  # their programs have modules of the same names
            child = get_context("spawn").Process(target=compare, args=(plan, ROUNDS[plan.name]))
            child.start()
            child.join()
            assert child.exitcode == 0


if __name__ == "__main__":
    main()
