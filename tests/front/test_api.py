"""docs/api.md: its examples run, and it names what there is."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import parc
from parc.check.load import load

ROOT = Path(__file__).parents[2]


def test_the_examples_of_the_api_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "examples")
    options = doctest.NORMALIZE_WHITESPACE
    done = doctest.testfile(str(ROOT / "docs" / "api.md"), module_relative=False, optionflags=options)

    assert done.attempted > 15
    assert done.failed == 0


def test_every_function_is_in_the_document() -> None:
    text = (ROOT / "docs" / "api.md").read_text()

    assert [name for name in parc.__all__ if f"parc.{name}(" not in text] == []


def test_a_figure_that_is_not_there() -> None:
    (plan,) = load(ROOT / "examples" / "seed.parc").plans

    with pytest.raises(ValueError, match=r"no figure `memory\.peek`"):
        parc.compute_figure(plan, "memory.peek")
