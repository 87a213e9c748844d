"""Layers that ranks share pass by pass: what a model must not do with them, and the line that is reported."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc import driver
from parc.diagnostic import Diagnostic

MODEL = """\
import torch
import torch.nn.functional as F
from torch import nn


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(16, 32)
        self.down = nn.Linear(32, 16)
        self.scale = nn.Parameter(torch.ones(16))

    def forward(self, x):
        return x + self.scale * self.down(self.up(x).relu()), self.scale * 2


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.ones(16))

    def forward(self, x):
        return x + self.values, self.values * 2


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(32, 16)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.shift = Shift()
        self.head = nn.Linear(16, 32, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        total = 0
        for layer in self.layers:
            x, scale = layer(x)
            total = total + scale
        x, values = self.shift(x)
        return self.head(x + total + values)
"""
PLAN = """\
cluster pair { levels = [node: 2] }
model m { source = "model.py:Model", shape { layers = 2, hidden = 16, vocab = 32 } }
train t {
  model = m
  batch { sequences = 4, length = 8, microbatches = 2 }
}
plan p for t on pair {
  mesh = [dp: 2]
  data over [dp] { shard = SHARD }
}
"""
CALL = "            x, scale = layer(x)\n"
CASES = {
    "a result is a view of a parameter": (
        "self.scale * 2\n",
        "self.scale[None]\n",
        "a result of `layers.0` is one of its parameters, or a view of one",
        CALL,
    ),
    "a result of another module is a view of a parameter": (
        "self.values * 2\n",
        "self.values[None]\n",
        "a result of `shift` is one of its parameters, or a view of one",
        "x, values = self.shift(x)",
    ),
    "a layer is called in parts": (
        CALL,
        "            x, scale = x + layer.down(layer.up(x)), layer.scale * 2\n",
        "`layers.0.up.weight` is read outside of `forward` of its layer",
        "x, scale = x + layer.down",
    ),
    "the inputs of layers are detached": (
        CALL,
        "            x, scale = layer(x.detach())\n",
        "no input of `layers.0` gets a gradient, with which its backward pass would end",
        "layer(x.detach())",
    ),
    "a layer detaches its input": (
        "return x + self.scale * self.down(self.up(x)",
        "x = x.detach()\n        return x + self.scale * self.down(self.up(x)",
        "no input of `layers.0` gets a gradient, with which its backward pass would end",
        CALL,
    ),
}


@pytest.mark.parametrize("shard", ["gradients", "parameters"])
@pytest.mark.parametrize(("line", "instead", "message", "place"), CASES.values(), ids=list(CASES))
def test_layers_without_passes_are_refused(
    line: str, instead: str, message: str, place: str, shard: str, tmp_path: Path
) -> None:
    model = change(MODEL, line, instead)
    found = build(model, shard, tmp_path)
    assert {each.code for each in found} == {"P520"}
    refused = {each.message: each for each in found}[message]
    assert refused.span is not None
    reported = refused.span.source.text.splitlines()[refused.span.line - 1]
    assert place.strip() in reported
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shard", ["optimizer", "gradients", "parameters"])
def test_results_that_are_computed_of_parameters_are_built(shard: str, tmp_path: Path) -> None:
    assert build(MODEL, shard, tmp_path) == ()


def change(model: str, line: str, instead: str) -> str:
    assert model.count(line) == 1
    return model.replace(line, instead)


def build(model: str, shard: str, folder: Path) -> tuple[Diagnostic, ...]:
    (folder / "model.py").write_text(model)
    (folder / "plan.parc").write_text(PLAN.replace("SHARD", shard))
    return driver.build(folder / "plan.parc", None, folder / "out").diagnostics
