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
from parc.verify.execution.diagnose import RunFailed
from parc.verify.numbers.compare import compare_program, save_reference
from parc.verify.sample.sample import Sample, SampleRun, compile_sample

from .plans import captured, loaded
from .sample_runs import prepare

OTHER = (24, 4)  # sequences of the other batch, and their length

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
        pipeline over [pp] { schedule = 1f1b, layers = [2, 1] }
        """,
    ),
}


def edit_batch(sample: Sample, folder: Path) -> SampleRun:
    """The program of a sample, edited to run with another batch, which its reference has as well."""
    train = sample.plan.train
    sizes = (train.batch.sequences, train.batch.length), OTHER
    before, after = (f"sequences={sequences}, length={length}" for sequences, length in sizes)
    run = prepare(sample, folder / "program", ("train.py", before, after), timeout=600.0)
    batch = replace(train.batch, sequences=OTHER[0], length=OTHER[1])
    return replace(run, sample=replace(sample, plan=replace(sample.plan, train=replace(train, batch=batch))))


@pytest.mark.parametrize("model", ["moe", "classic"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_another_batch_gives_the_numbers_of_the_model(model: str, layout: str, tmp_path: Path) -> None:
    """Every gradient and parameter of three steps, in float64."""
    ranks, text = LAYOUTS[layout]
    sample = compile_sample(loaded(model, ranks, text).plans[0], captured=captured(model))
    run, reference = edit_batch(sample, tmp_path), tmp_path / "reference.pt"
    save_reference(run.reference, 3, reference)
    worst = compare_program(run, reference)[0]
    assert worst.used <= 1, worst


NET = """
import torch
from torch import nn
class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 16)
    def forward(self, x):
        batch, length, width = x.shape
        {body}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding, self.head = nn.Embedding(32, 16), nn.Linear(16, 32)
        self.layers = nn.ModuleList([Layer(), Layer()])
    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)
"""
PLAN = """
cluster one {{ levels = [node: {ranks}] }}
model m {{ source = "net.py:Net" }}
train t {{
  model = m, seed = 1, steps = 3, batch {{ sequences = 16, length = 8, microbatches = 2 }}
  optimizer = adamw {{ lr = 1e-3 }}, precision {{ compute = fp64, master = fp64 }}
}}
plan p for t on one {{
  mesh = [dp: {ranks}]
  data over [dp]
}}
"""


def compile_net(body: str, ranks: int, folder: Path) -> Sample:
    """The model `NET` whose layers return what `body` says, with its sequences over `ranks`."""
    (folder / "net.py").write_text(NET.format(body=body))
    text = PLAN.format(ranks=ranks)
    return compile_sample(load_text(Source(str(folder / "plan.parc"), text)).plans[0])


SIZES = {
    "a number of tokens": "return x + self.mix(x).flatten(0, 1).sum(0) / (batch * length)",
    "a number of sequences": "return x * batch + self.mix(x)",
    "a new tensor": (
        "return x + self.mix(x) + torch.ones(batch, length, width, dtype=x.dtype, device=x.device)"
    ),
    "a mask": "return torch.ones(length, length, dtype=x.dtype, device=x.device).tril() @ self.mix(x)",
    "positions of each sequence": (
        "return self.mix(x) * torch.arange(length, device=x.device).expand(batch, length).unsqueeze(-1)"
    ),
    "half of a sequence": "return x + self.mix(x[:, : length // 2].repeat_interleave(2, 1))",
    "rows of all sequences": (
        "return x + self.mix(x.transpose(0, 1)).reshape(length, -1).sum(0).view(-1, 1, width)"
    ),
}


@pytest.mark.parametrize("ranks", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("body", SIZES.values(), ids=SIZES)
def test_a_size_in_the_code_of_the_model_follows_the_batch(body: str, ranks: int, tmp_path: Path) -> None:
    run, reference = edit_batch(compile_net(body, ranks, tmp_path), tmp_path), tmp_path / "reference.pt"
    save_reference(run.reference, 3, reference)
    worst = compare_program(run, reference)[0]
    assert worst.used <= 1, worst


def test_a_module_that_is_bound_to_its_batch_refuses_another(tmp_path: Path) -> None:
    """A length of the model's own minus one is no product of powers: the program checks its sizes."""
    body = "return x + self.mix(torch.cat((x[:, 1:], x[:, :1]), dim=1))"
    sample, reference = compile_net(body, 1, tmp_path), tmp_path / "reference.pt"
    run = prepare(sample, tmp_path / "as_compiled", timeout=600.0)
    save_reference(run.reference, 3, reference)
    assert compare_program(run, reference)[0].used <= 1
    with pytest.raises(RunFailed, match=r"`slice` \(net\.py, line 10\) has 7 for .* and 3 for "):
        compare_program(edit_batch(sample, tmp_path), reference)
