"""Generated texts by the thousand, as `benchmarks/fuzz.py` makes them, in processes with little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("first", "count"),
    [(1_000_000, 1000), pytest.param(2_000_000, 10_000, marks=pytest.mark.slow)],
)
def test_no_generated_text_fails_or_takes_a_second(first: int, count: int) -> None:
    """None of them is among those that the command takes by itself."""
    command = [sys.executable, "benchmarks/fuzz.py", str(count), "--first", str(first), "--every", "25"]
    environment = {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "OVER" not in done.stdout
