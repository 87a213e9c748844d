"""Typing into `parc lsp`: from a keystroke to its diagnostics, on one core, and the server's memory.

Time is that on the clock of a client which sends a change and waits for what is pushed; `cpu` is what the
server spent on it, which a busy machine does not disturb.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from statistics import median, quantiles
from typing import Any, NamedTuple

from processes import EXAMPLES, PARC
from table import Figure, show

KEYSTROKES = 300
NAME = re.compile(r"\b(cluster|model|train|plan|for|on|model +=) (farm|moe|seed|wide)\b")
LINES = 2000


class Typed(NamedTuple):
    """Milliseconds of each keystroke, those of the client's clock and of the server's CPU; MB at its most."""

    wall: list[float]
    cpu: list[float]
    peak: float


class Editor:
    def __init__(self) -> None:
        self.server = subprocess.Popen((*PARC, "lsp"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        os.sched_setaffinity(self.server.pid, {min(os.sched_getaffinity(0))})
        self.send({"id": 0, "method": "initialize", "params": {"processId": None, "capabilities": {}}})
        self.receive()
        self.send({"method": "initialized", "params": {}})

    def send(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self.server.stdin is not None
        self.server.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.server.stdin.flush()

    def receive(self) -> Any:
        assert self.server.stdout is not None
        length = 0
        while header := self.server.stdout.readline().strip():
            if header.startswith(b"Content-Length:"):
                length = int(header.split(b":")[1])
        return json.loads(self.server.stdout.read(length))

    def cpu(self) -> float:
        """Milliseconds so far, of all threads."""
        tasks = Path(f"/proc/{self.server.pid}/task").glob("*/schedstat")
        return sum(int(task.read_text().split()[0]) for task in tasks) / 1e6

    def peak(self) -> float:
        lines = Path(f"/proc/{self.server.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3

    def close(self) -> None:
        assert self.server.stdin is not None
        self.server.stdin.close()
        self.server.wait()


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
    editor = Editor()
    document: dict[str, Any] = {"uri": (EXAMPLES / "seed.parc").as_uri()}
    opened = {**document, "languageId": "parc", "version": 0, "text": text}
    editor.send({"method": "textDocument/didOpen", "params": {"textDocument": opened}})
    editor.receive()
    wall: list[float] = []
    cpu: list[float] = []
    for number, change in enumerate(keystrokes(text, count), 1):
        params = {"textDocument": {**document, "version": number}, "contentChanges": [change]}
        begun, spent = time.perf_counter(), editor.cpu()
        editor.send({"method": "textDocument/didChange", "params": params})
        editor.receive()
        wall.append((time.perf_counter() - begun) * 1e3)
        cpu.append(editor.cpu() - spent)
    typed = Typed(wall, cpu, editor.peak())
    editor.close()
    return typed


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
        (f"{LINES:,} lines", long(seed), 100, None),
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
