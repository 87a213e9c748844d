"""On another device than the CPU, every tensor of a step is where it is needed: see `fake_device.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from parc.runtime.data.datasets import Dataset
from parc.verify.execution.diagnose import RunFailed
from parc.verify.precision import rung as precision
from parc.verify.precision.compare_rank import RankReport, compare_rank
from parc.verify.report import Rung
from parc.verify.sample.sample import compile_sample

from .fake_device import NAME, fake_device
from .plans import find_plan
from .sample_runs import Edit, prepare
from .test_precision import captured

DEVICES = 'choices=("cpu", "cuda")'


def compare_there(folder: Path, dataset: Dataset, device: str, *args: Any) -> RankReport:
    """One rank, as `compare_rank`, on the fake device."""
    assert device == "cpu"
    with fake_device():
        return compare_rank(folder, dataset, NAME, *args)


def rung(
    model: str,
    layout: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: Edit = ("train.py", "", ""),
) -> Rung:
    """The rung `bf16` on the fake device."""
    sample = compile_sample(find_plan(model, layout), "bf16", captured(model, "bf16"))
    device = ("train.py", DEVICES, f'choices=("{NAME}",)')
    monkeypatch.setattr(precision, "compare_rank", compare_there)
    return precision.prove_precision(prepare(sample, folder, edit, device))


@pytest.mark.parametrize(
    ("model", "layout"),
    [("moe", "one-rank"), ("classic", "experts-with-data"), ("moe", "everything")],
)
def test_no_tensor_is_left_on_the_cpu(
    model: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = rung(model, layout, tmp_path / "program", monkeypatch)
    assert found.verdict == "proved", found
    assert "reference replayed" in found.compared[-2]


@pytest.mark.parametrize(
    "edit",
    [
        ("runtime/training.py", "part.to(self.device)", "part"),
        ("train.py", "with torch.device(device):", 'with torch.device("cpu"):'),
        ("runtime/grouped.py", "(counts.counts, dim=0", "(counts.counts.cpu(), dim=0"),
    ],
)
def test_one_that_is_left_there_is_noticed(
    edit: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RunFailed, match="is on the CPU, others are not"):
        rung("classic", "one-rank", tmp_path / "program", monkeypatch, edit)
