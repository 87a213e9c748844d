"""Fits the cost model's constants to the rows that are set aside for it, and writes
`parc/cost/data/constants.json`.

Which constants are free is chosen by leaving out one layout at a time of the fitted rows, never by held-out
rows.

    python benchmarks/fit_cost.py          # a minute
    python benchmarks/fit_cost.py --cross  # the choice as well
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import log

from parc.cost.job.hardware import LinkSpeed
from parc.cost.network import collective_times as network
from parc.cost.timing.constants import DATA, Constants
from parc.cost.timing.fit import SHARES, compute_loss, fit_constants, minimize
from parc.cost.validate import machines
from parc.cost.validate.report import load_rows
from parc.cost.validate.rows import Row

# Guesses of a large eager program on A100; the other kinds start from what A100 gives. No fitted run leaves
# its node:
# the fabric is taken to reach the share of its bandwidth that the links of a node do.
START = Constants(
    matmul=0.75, ramp=128, attention=0.55, memory=0.85, launch=1e-3,
    inner=0.75, outer=0.75, collective=4e-5, step=5e-3,
)  # fmt: skip

CANDIDATES = {
    "A100, Megatron 2021-23": [
        ("matmul", "ramp", "launch", "step"),
        ("matmul", "ramp", "memory", "launch", "step"),
        ("matmul", "launch", "step"),
    ],
    "H100, Megatron-Core": [
        ("matmul",),
        ("matmul", "launch"),
        ("matmul", "inner"),
        ("matmul", "inner", "launch"),
    ],
    "B200, Megatron 0.14": [
        ("matmul", "attention"),
        ("matmul", "attention", "step"),
        ("matmul", "attention", "launch", "step"),
        ("matmul", "attention", "inner", "step"),
        ("matmul", "attention", "ramp", "step"),
    ],
}


def all_reduces() -> tuple[float, float]:
    """Share of the node's link and seconds to start, from 77 timed all-reduces of 1 MiB to 1 GiB on 2 to 8
    A100."""
    points = [
        (int(bytes), entry["n_gpus"], seconds)
        for entry in json.loads((DATA / "measured.json").read_text())
        if entry["kind"] == "nccl_all_reduce"
        for bytes, seconds in entry["points_bytes_to_s"].items()
    ]
    link = machines.A100_VTRAIN.links[0]

    def error(point: Sequence[float]) -> float:
        share, start = point[0], point[1] * 1e-6
        links = (LinkSpeed(link.bandwidth * share, link.latency),)
        return sum(
            abs(log((start + network.predict_all_reduce(bytes, (size,), links)) / seconds))
            for bytes, size, seconds in points
        ) / len(points)

    share, start = minimize(error, [0.75, 40.0], 0.1, 400)
    off = error([share, start])
    print(f"all-reduces in a node: {off:.1%} of {len(points)}, {share:.3f} of the link, {start:.1f} us")
    return share, start * 1e-6


def cross(of: Sequence[Row], start: Constants, free: tuple[str, ...]) -> float:
    """The error on each layout with the constants that the others give."""
    layouts = defaultdict(list)
    for row in of:
        layouts[row.source, row.job.degrees, row.job.architecture.hidden].append(row)
    folds: list[list[Row]] = [[] for _ in range(min(8, len(layouts)))]
    for index, key in enumerate(sorted(layouts)):
        folds[index % len(folds)] += layouts[key]
    total = 0.0
    for fold in folds:
        rest = [row for row in of if row not in fold]
        total += compute_loss(fold, fit_constants(rest, start, free, rounds=300)) * len(fold)
    return total / len(of)


def chosen(kind: str, mine: Sequence[Row], start: Constants) -> tuple[str, ...]:
    """The candidate with the least error on layouts left out, of those that end with shares that can be."""
    errors = {}
    for free in CANDIDATES[kind]:
        fitted = fit_constants(mine, start, free)
        possible = all(getattr(fitted, name) < 1 for name in SHARES)
        error = cross(mine, start, free)
        note = "" if possible else ": a share ends at 1"
        print(f"  {error:.2%} on layouts left out, free {', '.join(free)}{note}")
        if possible:
            errors[free] = error
    return min(errors, key=lambda each: errors[each])


def main() -> None:
    share, start = all_reduces()
    base = replace(START, inner=share, outer=share, collective=start)
    known = load_rows()
    before = json.loads((DATA / "constants.json").read_text())
    found = {}
    for kind in CANDIDATES:
        mine = [row for row in known if row.kind == kind and row.fitted]
        print(f"{kind}: {len(mine)} rows")
        free = chosen(kind, mine, base) if "--cross" in sys.argv else tuple(before[kind]["free"])
        fitted = fit_constants(mine, base, free)
        found[kind] = {
            "compute": mine[0].job.require_hardware().peak_flops,
            "fitted": "; ".join(sorted({row.source for row in mine})),
            "free": list(free),
            "rows": len(mine),
            "error": round(compute_loss(mine, fitted), 4),
            "constants": {name: float(f"{value:.4g}") for name, value in asdict(fitted).items()},
        }
        print(f"  {found[kind]['error']:.2%} with {found[kind]['constants']}")
        if base.matmul == START.matmul:  # the first kind has most rows: the others start from what it gives
            base = fitted
    (DATA / "constants.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
