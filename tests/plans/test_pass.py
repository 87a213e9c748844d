"""No false alarm: `parc check` reports nothing of a plan that is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.check.load import load

FILES = sorted((Path(__file__).parent / "pass").glob("*.parc"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_is_reported_of_a_correct_plan(file: Path) -> None:
    loaded = load(file)
    assert loaded.diagnostics == ()
    assert loaded.plans


def test_there_are_as_many_as_there_should_be() -> None:
    assert len(FILES) >= 40
