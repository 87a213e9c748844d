"""On a device that is not the CPU, every tensor of a step lies where it is needed: see `fake_device.py`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from parc.emit.write import write
from parc.plan.blocks import Plan
from parc.runtime.data import Dataset
from parc.verify.execution.watchdog import Stopped
from parc.verify.numbers.shards import States
from parc.verify.precision import rung as lower
from parc.verify.precision.compare_rank import strained
from parc.verify.report import Rung
from parc.verify.sample.compile import trial
from parc.verify.sample.tokens import Tokens

from .fake_device import NAME, pretending
from .plans import VOCABULARY
from .test_precision import captured, plan_of

DEVICES = 'choices=("cpu", "cuda")'


def there(
    folder: str,
    dataset: Dataset,
    states: Mapping[tuple[str, int], States],
    plan: Plan,
    device: str,
    scratch: Path,
    timeout: float,
) -> None:
    """One rank, as `strained`, on the device that is pretended."""
    assert device == "cpu"
    with pretending():
        strained(folder, dataset, states, plan, NAME, scratch, timeout)


def rung(
    model: str,
    layout: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    edit: tuple[str, str, str] = ("train.py", "", ""),
) -> Rung:
    """bfloat16 on the pretended device."""
    given = trial(plan_of(model, layout), "bf16", captured(model, "bf16"))
    write(given.files, folder)
    for name, old, new in (edit, ("train.py", DEVICES, f'choices=("{NAME}",)')):
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))
    monkeypatch.setattr(lower, "strained", there)
    return lower.lowered(given, folder, Tokens(VOCABULARY), "bf16", 60.0, "cpu")


@pytest.mark.parametrize(
    ("model", "layout"),
    [("moe", "one rank"), ("classic", "experts with data"), ("moe", "everything")],
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
        ("runtime/grouped.py", "torch.tensor(counts, device=vectors.device)", "torch.tensor(counts)"),
    ],
)
def test_one_that_is_left_there_is_noticed(
    edit: tuple[str, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Stopped, match="is on the CPU, others are not"):
        rung("classic", "one rank", tmp_path / "program", monkeypatch, edit)
