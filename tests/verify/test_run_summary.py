"""What `parc run --compare` closes with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from parc import driver

from .plans import EXAMPLES


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Four letters, equally often: their unigram entropy is ln 4, 1.39 nats."""
    (tmp_path / "text.txt").write_text("abcd" * 2000)
    return tmp_path


def test_a_run_closes_with_its_distance_from_one_device(
    text: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = EXAMPLES / "classic.parc"
    program = [
        "--steps",
        "4",
        "--base",
        str(text),
        "--data",
        str(text / "text.txt"),
        "--out",
        str(text / "runs"),
    ]
    (text / "runs").mkdir()
    (text / "runs" / "metrics.jsonl").write_text(
        '{"step": 0, "loss": 99}\n{"step": 1, "lo'
    )  # of a run before
    assert driver.run(plan, "tensors", "cpu", program, compare=3) == 0
    said = capfd.readouterr().out
    assert "unigram entropy of the data, 1.39" in said
    found = re.search(r"the first 3 losses differ .* by at most (\S+)", said)
    assert found
    assert 0 <= float(found[1]) < 1e-5  # float32: a few roundings of 1e-7 of a loss of 6
