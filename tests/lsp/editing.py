"""A plan with the cursor in it, as tests write it: `|` is where the cursor is."""

from __future__ import annotations

from pathlib import Path

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import Edit, apply_edits
from parc.lsp.document.workspace import Workspace
from parc.source import Span

FILE = Path("/plans/plan.parc")
EXAMPLES = Path(__file__).parents[2] / "examples"
SEED = (EXAMPLES / "seed.parc").read_text(encoding="utf-8")


def type_text(text: str, path: Path = FILE) -> tuple[Analysis, int]:
    """The text without its cursor, analysed, and where the cursor is."""
    offset = text.index("|")
    return open_text(text[:offset] + text[offset + 1 :], path), offset


def open_text(text: str, path: Path = FILE) -> Analysis:
    project = Workspace()
    project.set_text(path, text, 1)
    analysis = project.analyse(path)
    assert analysis is not None
    return analysis


def edit_seed(old: str, new: str) -> tuple[Analysis, int]:
    """The seed with a cursor typed into it, and perhaps more."""
    assert SEED.count(old) == 1, old
    return type_text(SEED.replace(old, new))


def apply_fix(analysis: Analysis, edits: tuple[tuple[Span, str], ...]) -> str:
    there: list[Edit] = [(span.start, span.end, text) for span, text in edits]
    return apply_edits(analysis.source.text, there)
