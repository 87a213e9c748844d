"""The summary of a finished run: its loss against the entropy of the data, and against one device."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

from parc.capture.capture import Captured
from parc.plan.blocks import Plan
from parc.runtime.data.datasets import ByteDataset, Dataset, TokenDataset, compute_unigram_entropy, find_files
from parc.verify.numbers.reference import Reference


def summarize_run(plan: Plan, captured: Captured, base: Path, arguments: Sequence[str], count: int) -> str:
    """Two lines on a run with the program's `arguments`, from the losses in its metrics.

    The first `count` losses are compared with those of the model on one device. The data lie below `base`.
    """
    options = _parse_options(plan, arguments)
    losses = _read_losses(options.out)
    dataset = _open_dataset(plan, options.data, base)
    entropy = compute_unigram_entropy(dataset)
    optimizer = replace(plan.train.optimizer, lr=options.lr)
    same = replace(plan, train=replace(plan.train, steps=options.steps, optimizer=optimizer))
    steps = Reference(same, captured, dataset).train(min(count, len(losses)))
    differences = [
        abs(step.figures["loss"] - loss) for loss, step in zip(islice(losses, count), steps, strict=True)
    ]
    side = "below" if losses[-1] < entropy else "above"
    nats = abs(entropy - losses[-1])
    return (
        f"loss {losses[-1]:.4f}: {nats:.2f} nats {side} the unigram entropy of the data, {entropy:.2f}\n"
        f"the first {len(differences)} losses differ from the single-device run of the same steps "
        f"by at most {max(differences):.1e}"
    )


def _read_losses(folder: Path) -> list[float]:
    """Those of the run that has ended last. Its lines follow those of earlier ones, and begin with step 0."""
    last = max(folder.glob("metrics*.jsonl"), key=lambda file: file.stat().st_mtime_ns)
    whole = (
        line for line in last.read_text().splitlines() if line.endswith("}")
    )  # a run may have been killed
    steps = [json.loads(line) for line in whole]
    first = max(number for number, figures in enumerate(steps) if figures["step"] == 0)
    return [float(figures["loss"]) for figures in steps[first:]]


def _parse_options(plan: Plan, arguments: Sequence[str]) -> argparse.Namespace:
    """The options of the program that change what it computes, and the folder that it writes to."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--steps", type=int, default=plan.train.steps)
    parser.add_argument("--lr", type=float, default=plan.train.optimizer.lr)
    patterns = plan.train.dataset.patterns if plan.train.dataset else ()
    parser.add_argument("--data", nargs="+", default=patterns)
    parser.add_argument("--out", type=Path, default=Path("runs"))
    return parser.parse_known_args(arguments)[0]


def _open_dataset(plan: Plan, patterns: Sequence[str], base: Path) -> Dataset:
    files = find_files(patterns, base)
    facts = plan.train.dataset
    return (
        TokenDataset(files, facts.type)
        if facts is not None and facts.kind == "tokens"
        else ByteDataset(files)
    )
