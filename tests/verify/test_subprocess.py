"""The process that ranks are forked from makes no backward pass: with GPUs, the ranks could make none."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from parc.verify.execution.subprocess import run_in_subprocess
from parc.verify.numbers.rung import prove_numbers
from parc.verify.precision.rung import prove_precision
from parc.verify.report import NotProvable
from parc.verify.sample.sample import compile_sample

from .plans import captured, find_plan
from .sample_runs import prepare


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def fails() -> NoReturn:
    raise NotProvable("the reason")


def fails_oddly() -> NoReturn:
    raise Unpicklable("two ", "words")


def dies() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_and_errors_of_a_subprocess_come_back() -> None:
    assert run_in_subprocess(os.getpid) != os.getpid()
    with pytest.raises(NotProvable, match="the reason"):
        run_in_subprocess(fails)
    with pytest.raises(RuntimeError, match="Unpicklable: two words"):
        run_in_subprocess(fails_oddly)
    with pytest.raises(NotProvable, match="was ended by signal SIGKILL"):
        run_in_subprocess(dies)


@pytest.mark.parametrize("wrong", [False, True])
def test_no_rung_differentiates_where_ranks_are_forked(
    wrong: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, backward = os.getpid(), torch.autograd.backward

    def watched(*args: Any, **kwargs: Any) -> None:
        assert os.getpid() != here
        backward(*args, **kwargs)

    monkeypatch.setattr(torch.autograd, "backward", watched)
    plan = find_plan("moe", "tensor")
    # where a program is wrong, the first tensor that differs is looked for
    edits = [("runtime/optim.py", "weight_decay=settings.weight_decay", "weight_decay=0.0")] if wrong else []
    high, low = compile_sample(plan, captured=captured("moe")), compile_sample(plan, "fp32")
    verdict = "refuted" if wrong else "proved"
    assert prove_numbers(prepare(high, tmp_path / "high", *edits)).verdict == verdict
    assert prove_precision(prepare(low, tmp_path / "low", *edits)).verdict == verdict
    with pytest.raises(AssertionError):
        torch.ones((), requires_grad=True).backward()
