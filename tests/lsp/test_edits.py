"""The server survives any edit, and reports after it what a fresh reading reports."""

from __future__ import annotations

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.lsp_edits import run


def test_some_hundred_edits() -> None:
    assert [texts for session in run(range(8)) for texts in session] == []


@pytest.mark.slow
def test_five_thousand_edits() -> None:
    assert [texts for session in run(range(1000, 1100)) for texts in session] == []
