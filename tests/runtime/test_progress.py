"""Progress: a bar on a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator

import pytest

from parc.runtime.process.progress import Progress, format_duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO, steps: int) -> str:
    """A run of `steps`, of which each takes 3 s."""
    seconds: Iterator[int] = iter(range(0, 3 * steps + 1, 3))
    progress = Progress(steps, stream, clock=lambda: next(seconds))
    for step in range(steps):
        progress.update({"step": step, "loss": 4.0 / (step + 1), "tokens_per_second": 12345.6})
    return stream.getvalue()


def test_elsewhere_a_run_is_about_twenty_lines() -> None:
    lines = shown(io.StringIO(), 100).splitlines()
    assert len(lines) == 20
    assert lines[0] == "step   5/100  loss 0.8000  12,346 tokens/s  4:45 left"
    assert lines[-1] == "step 100/100  loss 0.0400  12,346 tokens/s  0:00 left"


def test_a_short_run_tells_every_step() -> None:
    assert [line.split("  ")[0] for line in shown(io.StringIO(), 3).splitlines()] == [
        "step 1/3",
        "step 2/3",
        "step 3/3",
    ]


def test_elsewhere_long_steps_are_a_line_a_minute() -> None:
    seconds = itertools.count(0, 31)
    stream = io.StringIO()
    progress = Progress(1000, stream, clock=lambda: next(seconds))
    for step in range(10):
        progress.update({"step": step, "loss": 1.0, "tokens_per_second": 1.0})
    assert len(stream.getvalue().splitlines()) == 5  # of 1,000 steps, each fiftieth would be one


def test_elsewhere_a_step_that_takes_minutes_is_reported_while_it_goes_on() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream, every=0.02)
    deadline = time.monotonic() + 10
    while stream.getvalue().count("\n") < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    progress.closed.set()
    assert stream.getvalue().splitlines()[1] == "step 0/2  0:00 since the start, a step goes on"


def test_a_terminal_shows_one_line_that_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    drawn = shown(Terminal(), 2)
    assert drawn.count("\n") == 1
    assert drawn.endswith("\n")
    first, last = drawn.split("\r\x1b[K")[1:]
    assert first == f"[{'#' * 15}{'.' * 15}] step 1/2  loss 4.0000  12,346 tokens/s  0:03 left"
    assert last.startswith(f"[{'#' * 30}] step 2/2  loss 2.0000")


def test_a_narrow_terminal_is_not_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert {len(line.rstrip("\n")) for line in shown(Terminal(), 2).split("\r\x1b[K")[1:]} == {39}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (7.4, "0:07"), (59.6, "1:00"), (754, "12:34"), (3723, "1:02:03"), (90_000, "25:00:00")],
)
def test_durations(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
