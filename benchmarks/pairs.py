"""Pairs of plans of one training run on different meshes: the same losses, step by step.

Nothing but the two programs is compared: this holds without a reference.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import NamedTuple

import drawn
from table import Figure, show

from parc.emit.write import write
from parc.runtime.process.launch import spawn
from parc.verify.sample.tokens import Tokens

RUN = 11  # programs of one training run, which make ten pairs
STEPS = 3
# A loss is a mean of 96 or 160 token losses: roundings of 1e-16 each, amplified by two steps of AdamW, which
# divides a gradient by its own size.
TOLERANCE = 1e-11


class Pair(NamedTuple):
    model: str
    meshes: tuple[str, str]
    difference: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    runs = range(-(-options.pairs // (RUN - 1)))
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        found = [pair for part in pool.map(_pairs, [options.seed] * len(runs), runs) for pair in part]
    pairs = found[: options.pairs]
    wrong = [pair for pair in pairs if not pair.difference < TOLERANCE]
    for pair in wrong:
        print(f"{pair.model}: {' and '.join(pair.meshes)} differ by {pair.difference:.1e}")
    worst = max(pair.difference for pair in pairs)
    figures = [
        Figure("pairs", len(pairs), None),
        Figure("largest difference of a loss", worst, TOLERANCE),
        Figure("pairs that differ", len(wrong), 0),
    ]
    show(f"pairs of plans on different meshes, {STEPS} steps in float64", figures)
    return bool(wrong)


def _pairs(seed: int, number: int) -> list[Pair]:
    """Neighbours among the programs of one training run."""
    model = ("moe", "classic")[number % 2]
    draw = Random(f"{seed} {number} pairs")
    text = drawn.train(draw, model)
    programs: dict[str, list[float]] = {}
    for compiled in drawn.programs(draw, text, 10 * RUN):
        mesh = str([f"{axis.name}: {axis.size}" for axis in compiled.plan.mesh.axes])
        if mesh not in programs:
            programs[mesh] = _losses(compiled)
        if len(programs) == RUN:
            break
    return [
        Pair(model, (one, other), max(abs(a - b) / abs(a) for a, b in zip(mine, its, strict=True)))
        for (one, mine), (other, its) in pairwise(programs.items())
    ]


def _losses(compiled: drawn.Compiled) -> list[float]:
    """Of the first steps, as rank 0 reports them."""
    with TemporaryDirectory() as scratch:
        write(compiled.files, Path(scratch) / "program")
        spawn(compiled.plan.mesh.size, _rank, Path(scratch), Tokens(drawn.VOCABULARY))
        losses: list[float] = json.loads((Path(scratch) / "losses.json").read_text())
    return losses


def _rank(scratch: Path, dataset: Tokens) -> None:
    sys.path.insert(0, str(scratch / "program"))
    import train  # type: ignore[import-not-found]
    from torch.distributed import get_rank

    trainer = train.build_trainer(
        dataset, train.parse_arguments(["--data", "unused", "--device", "cpu"]), "cpu"
    )
    losses = [trainer.step(step)["loss"] for step in range(STEPS)]
    if get_rank() == 0:
        (scratch / "losses.json").write_text(json.dumps(losses))


if __name__ == "__main__":
    raise SystemExit(main())
