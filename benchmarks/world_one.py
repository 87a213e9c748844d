"""A step of the emitted program at world size 1 against a loop by hand: same model, batches and optimizer.

The two take turns in one process, so that a slow moment of the machine strikes both; the figure is the median
of their ratios.
"""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles
from tempfile import TemporaryDirectory

import torch
import torch.distributed as dist
import torch.nn.functional as F
from processes import EXAMPLES
from table import Figure, show
from torch import Tensor

from parc import driver

PLAN = Path(__file__).with_suffix(".parc")
PAIRS = 20
WARM_UP = 3

Step = Callable[[int], float]  # number of the step -> its loss
Batch = Callable[[int], tuple[Tensor, Tensor]]


def emitted(out: Path) -> tuple[Step, Batch]:
    """The program of `PLAN`, and what it reads: tokens and labels (microbatches, sequences, length)."""
    found = driver.build(PLAN, None, out)
    assert not found, found
    sys.path.insert(0, str(out))
    train = importlib.import_module("train")
    options = train.parsed(["--out", str(out / "runs")])
    trainer = train.prepare(train.opened(options.data, options.base), options, "cpu")

    def step(number: int) -> float:
        loss: float = trainer.step(number)["loss"]
        return loss

    return step, trainer.batches.step


def written_by_hand(batch: Batch) -> Step:
    sys.path.insert(0, str(EXAMPLES))
    moe = importlib.import_module("moe")
    model = moe.MoETransformer(
        n_layers=4,
        dim=512,
        n_heads=8,
        n_kv_heads=4,
        ffn=1024,
        n_experts=8,
        top_k=2,
        vocab=256,
        max_length=128,
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), weight_decay=0.1)

    def step(number: int) -> float:
        optimizer.zero_grad()
        total = 0.0
        tokens, labels = batch(number)
        for ids, targets in zip(tokens, labels, strict=True):
            logits, balance = model(ids)
            loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten()) / len(tokens)
            (loss + 0.01 / len(tokens) * balance).backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return total

    return step


def seconds(step: Step, number: int) -> float:
    start = time.perf_counter()
    step(number)
    return time.perf_counter() - start


def main() -> None:
    dist.init_process_group("gloo", init_method="tcp://127.0.0.1:0", rank=0, world_size=1)
    with TemporaryDirectory() as folder:
        ours, batch = emitted(Path(folder) / "out")
        theirs = written_by_hand(batch)
        pairs = []
        for number in range(WARM_UP + PAIRS):
            first, second = (ours, theirs) if number % 2 else (theirs, ours)
            took = {step: seconds(step, number) for step in (first, second)}
            pairs.append((took[ours], took[theirs]))
    dist.destroy_process_group()
    kept = pairs[WARM_UP:]
    ratios = [ours_took / theirs_took for ours_took, theirs_took in kept]
    low, _, high = quantiles(ratios, n=4)
    show(
        f"a step at world size 1, hidden 512, {PAIRS} pairs",
        [
            Figure("emitted program, median", median(pair[0] for pair in kept) * 1e3, None, "ms"),
            Figure("own loop, median", median(pair[1] for pair in kept) * 1e3, None, "ms"),
            Figure("ratio, median", median(ratios), 1.05),
            Figure("ratio, quartiles: lower", low, None),
            Figure("ratio, quartiles: upper", high, None),
        ],
    )


if __name__ == "__main__":
    main()
