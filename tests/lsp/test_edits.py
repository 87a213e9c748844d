"""The server survives any edit, and says after it what a fresh reading says."""

from __future__ import annotations

import pytest

from benchmarks.lsp_edits import differences


@pytest.mark.parametrize("seed", range(8))
def test_edits(seed: int) -> None:
    assert list(differences(edits=40, seed=seed)) == []


@pytest.mark.slow
def test_many_edits() -> None:
    assert list(differences(edits=5000, seed=1000)) == []
