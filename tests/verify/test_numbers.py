"""The rung `numbers`: what it compares, and its findings for a right and for a wrong program."""

from __future__ import annotations

from pathlib import Path

import torch

from parc.verify.numbers.rung import prove_numbers
from parc.verify.report import Rung
from parc.verify.sample.sample import compile_sample
from parc.verify.sample.tokens import Tokens

from .plans import captured, find_plan
from .sample_runs import Edit, prepare


def rung(model: str, layout: str, folder: Path, *edits: Edit) -> Rung:
    sample = compile_sample(find_plan(model, layout), captured=captured(model))
    return prove_numbers(prepare(sample, folder, *edits))


def test_every_gradient_and_parameter_of_a_right_program_is_compared(tmp_path: Path) -> None:
    found = rung("moe", "experts-with-data", tmp_path / "program")
    assert found.verdict == "proved"
    count = len(captured("moe").recipes)
    assert [line.partition(":")[0] for line in found.compared] == [
        "loss",
        "balance loss",
        "gradient norm",
        "learning rate",
        f"{count} gradients",
        f"{count} parameters",
        "beyond these steps, as functions",
    ]


def test_a_wrong_program_is_refuted_by_the_first_tensor_that_differs(tmp_path: Path) -> None:
    edit = ("runtime/gradients.py", "return total.sqrt()", "return total")
    found = rung("moe", "data", tmp_path / "program", edit)
    assert found.verdict == "refuted"
    assert [each.file for each in found.findings] == [edit[0]]
    assert found.findings[0].message.startswith("the gradient norm differs first: step 0")


def test_what_training_calls_is_what_is_run(tmp_path: Path) -> None:
    edit = ("runtime/training.py", "self.compute_gradients(step)", "self.compute_gradients(0)")
    assert rung("moe", "one-rank", tmp_path / "program", edit).verdict == "refuted"


def test_tokens_are_skewed_and_the_same_for_a_seed() -> None:
    ids = Tokens(1000, seed=4).ids
    assert torch.equal(ids, Tokens(1000, seed=4).ids)
    assert not torch.equal(ids, Tokens(1000, seed=5).ids)
    assert int(ids.max()) < 1000
    assert 0.48 < float((ids < 125).double().mean()) < 0.52
