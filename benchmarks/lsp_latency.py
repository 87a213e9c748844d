"""Typing into `parc lsp`: from a keystroke to its diagnostics, on one core, and the server's memory.

Time is that on the clock of a client which sends a change and waits for what is pushed; `cpu` is what the
server spent on it, which a busy machine does not disturb.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any, NamedTuple

from client import Client
from processes import EXAMPLES
from table import Figure, show

KEYSTROKES = 300
NAME = re.compile(r"\b(cluster|model|train|plan|for|on|model +=) (farm|moe|seed|wide)\b")
LINES = 2000


class Typed(NamedTuple):
    """Milliseconds of each keystroke, those of the client's clock and of the server's CPU; MB at its most."""

    wall: list[float]
    cpu: list[float]
    peak: float


def cpu(process: int) -> float:
    """Milliseconds so far, of all threads."""
    tasks = Path(f"/proc/{process}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6


def peak(process: int) -> float:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3


def keystrokes(text: str, count: int) -> list[dict[str, Any]]:
    """Digits and letters typed into values at random places, each taken back: the plan is mostly right."""
    random, changes = Random(0), []
    lines = text.split("\n")
    places = [(at, line.index("= ") + 2) for at, line in enumerate(lines) if "= " in line]
    for _ in range(count // 2):
        line, character = random.choice(places)
        start, end = ({"line": line, "character": each} for each in (character, character + 1))
        letter = random.choice('123456789abcxyz{["#,')
        changes.append({"range": {"start": start, "end": start}, "text": letter})
        changes.append({"range": {"start": start, "end": end}, "text": ""})
    return changes


def type(text: str, count: int) -> Typed:
    uri = (EXAMPLES / "seed.parc").as_uri()
    wall: list[float] = []
    spent: list[float] = []
    with Client() as client:
        server = client.server.pid
        os.sched_setaffinity(server, {min(os.sched_getaffinity(0))})
        client.open(uri, text)
        client.pushed(uri, 1)
        for change in keystrokes(text, count):
            begun, before = time.perf_counter(), cpu(server)
            client.pushed(uri, client.change(uri, change))
            wall.append((time.perf_counter() - begun) * 1e3)
            spent.append(cpu(server) - before)
        return Typed(wall, spent, peak(server))


def long(text: str) -> str:
    """Plans like the seed, with names of their own, until there are enough lines."""
    copies: list[str] = []
    while sum(copy.count("\n") for copy in copies) < LINES:
        copies.append(NAME.sub(rf"\g<0>{len(copies)}", text))
    return "\n".join(copies)


def main() -> int:
    seed = (EXAMPLES / "seed.parc").read_text(encoding="utf-8")
    for title, text, middle, worst in (
        ("the seed", seed, 20, 50),
        (f"{LINES:,} lines", long(seed), 100, 100),
    ):
        found = type(text, KEYSTROKES)
        show(
            f"a keystroke in {title}, {KEYSTROKES} of them",
            [
                Figure("median", median(found.wall), middle, "ms"),
                Figure("99th percentile", quantiles(found.wall, n=100)[98], worst, "ms"),
                Figure("CPU of the server, median", median(found.cpu), middle, "ms"),
                Figure("CPU of the server, 99th percentile", quantiles(found.cpu, n=100)[98], worst, "ms"),
                Figure("memory of the server", found.peak, 120, "MB"),
            ],
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
