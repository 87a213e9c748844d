"""The server survives any edit, and reports after it what a fresh reading reports."""

from __future__ import annotations

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.lsp_edits import run


@pytest.mark.parametrize("first", [0, pytest.param(20, marks=pytest.mark.slow)])
def test_a_thousand_edits(first: int) -> None:
    assert [texts for session in run(range(first, first + 20)) for texts in session] == []


@pytest.mark.slow
def test_five_thousand_edits() -> None:
    assert [texts for session in run(range(1000, 1100)) for texts in session] == []
