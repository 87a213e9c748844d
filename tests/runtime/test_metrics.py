"""MetricsWriter: a line a step, readable by anything that reads JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parc.runtime.process.metrics import MetricsWriter


def lines(folder: Path) -> list[dict[str, float | None]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_each_step_is_a_line_at_once(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path / "runs" / "first") as metrics:
        metrics.write({"step": 0, "loss": 2.5})
        assert lines(tmp_path / "runs" / "first") == [{"step": 0, "loss": 2.5}]
        metrics.write({"step": 1, "loss": 2.25})
    assert lines(tmp_path / "runs" / "first")[1] == {"step": 1, "loss": 2.25}


def test_a_new_run_follows_the_old_one(tmp_path: Path) -> None:
    for loss in (2.5, 1.5):
        with MetricsWriter(tmp_path) as metrics:
            metrics.write({"step": 0, "loss": loss})
    assert lines(tmp_path) == [{"step": 0, "loss": 2.5}, {"step": 0, "loss": 1.5}]


def test_half_a_line_of_a_run_that_was_killed_stays_alone(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n{"st')
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 0, "loss": 1.5})
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 0}\n{"st\n{"step": 0, "loss": 1.5}\n'


def test_two_runs_at_a_time_write_to_files_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        MetricsWriter(tmp_path) as first,
        MetricsWriter(tmp_path) as second,
        MetricsWriter(tmp_path) as third,
    ):
        for step in range(3):
            for loss, metrics in enumerate((first, second, third)):
                metrics.write({"step": step, "loss": loss})
        assert [each.file.name for each in (first, second, third)] == [
            "metrics.jsonl",
            "metrics-2.jsonl",
            "metrics-3.jsonl",
        ]
    for loss, metrics in enumerate((first, second, third)):
        written = [json.loads(line) for line in metrics.file.read_text().splitlines()]
        assert written == [{"step": step, "loss": loss} for step in range(3)]
    assert "the metrics of this one are in" in capsys.readouterr().err


def test_what_json_cannot_say_is_null(tmp_path: Path) -> None:
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 0, "loss": float("nan"), "grad_norm": float("inf")})
    assert lines(tmp_path) == [{"step": 0, "loss": None, "grad_norm": None}]


def test_tensorboard_gets_the_same_where_it_is_installed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[object, ...]] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            seen.append((folder,))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            seen.append((name, value, step))

        def close(self) -> None:
            seen.append(("closed",))

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 4, "loss": 1.5})
    assert seen == [(str(tmp_path),), ("loss", 1.5, 4), ("closed",)]
    assert lines(tmp_path) == [{"step": 4, "loss": 1.5}]


def test_without_tensorboard_there_are_the_lines(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with MetricsWriter(tmp_path) as metrics:
        metrics.write({"step": 0, "loss": 1.0})
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]
