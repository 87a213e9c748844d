"""A program runs for other batches than the one it was compiled for, and computes what the model computes.

Only the named configuration in `train.py` is edited. Where the model is bound to a batch, the program refuses
any other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from parc.check.load import load_text
from parc.source import Source
from parc.verify.execution.watchdog import Stopped
from parc.verify.numbers.compare import compare_program, save_reference
from parc.verify.sample.sample import SampleRun, compile_sample

from .plans import captured, loaded
from .sample_runs import prepare

COMPILED, OTHER = (16, 6), (24, 4)  # sequences of a batch, and their length

LAYOUTS = {
    "one rank": (
        1,
        """
        mesh = [dp: 1]
        data over [dp]
        """,
    ),
    "tensor and experts": (
        4,
        """
        mesh = [ep: 2, tp: 2]
        data over [ep]
        tensor over [tp]
        experts over [ep] { tensor = [tp] }
        """,
    ),
    "sequence": (
        2,
        """
        mesh = [tp: 2]
        tensor over [tp] { sequence = true }
        """,
    ),
    "pipeline with data": (
        4,
        """
        mesh = [pp: 2, dp: 2]
        data over [dp]
        pipeline over [pp] { schedule = "1f1b", layers = [2, 1] }
        """,
    ),
}


def with_other_batch(model: str, layout: str, folder: Path) -> SampleRun:
    """A program of a plan for one batch, edited to run with another; its reference has the other as well."""
    ranks, text = LAYOUTS[layout]
    (plan,) = loaded(model, ranks, text).plans
    sample = compile_sample(plan, captured=captured(model))
    (before, after) = (f"sequences={each[0]}, length={each[1]}" for each in (COMPILED, OTHER))
    run = prepare(sample, folder / "program", ("train.py", before, after), timeout=600.0)
    batch = replace(plan.train.batch, sequences=OTHER[0], length=OTHER[1])
    other = replace(sample.plan, train=replace(sample.plan.train, batch=batch))
    return replace(run, sample=replace(sample, plan=other))


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_batch_gives_the_numbers_of_the_model(model: str, layout: str, tmp_path: Path) -> None:
    """Every gradient and parameter of three steps, in float64."""
    run, reference = with_other_batch(model, layout, tmp_path), tmp_path / "reference.pt"
    save_reference(run.reference, 3, reference)
    worst = compare_program(run, reference)[0]
    assert worst.used <= 1, worst


BOUND = """
import torch
from torch import nn
class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 16)
    def forward(self, x):
        return x + self.mix(torch.cat((x[:, 1:], x[:, :1]), dim=1))
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(32, 16), nn.Linear(16, 32)
        self.layers = nn.ModuleList([Shift(), Shift()])
    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
"""
PLAN = """
cluster one { levels = [node: 1] }
model m { source = "net.py:Net" }
train t {
  model = m, seed = 1, steps = 3, batch { sequences = 16, length = 6, microbatches = 2 }
  optimizer = adamw { lr = 1e-3 }, precision { compute = fp64, master = fp64 }
}
plan p for t on one {
  mesh = [dp: 1]
  data over [dp]
}
"""


def test_a_module_that_is_bound_to_its_batch_refuses_another(tmp_path: Path) -> None:
    """A length of the model's own minus one is no product of powers: the program asserts its sizes."""
    (tmp_path / "net.py").write_text(BOUND)
    (plan,) = load_text(Source(str(tmp_path / "plan.parc"), PLAN)).plans
    sample, reference = compile_sample(plan), tmp_path / "reference.pt"
    run = prepare(sample, tmp_path / "program", timeout=600.0)
    save_reference(run.reference, 3, reference)
    assert compare_program(run, reference)[0].used <= 1
    run = prepare(sample, tmp_path / "other", ("train.py", "length=6", "length=4"), timeout=600.0)
    with pytest.raises(Stopped, match=r"`slice` \(net\.py, line 9\) has 5 for .* and 2 for "):
        compare_program(run, reference)
