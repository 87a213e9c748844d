"""Large and hostile texts do not freeze the editor: limits of size come before parsing."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

pytest.importorskip("pygls", reason="`pip install 'parc-compiler[lsp]'` has the server's library")

from benchmarks.lsp_hostile import MAX_KEYSTROKE, MAX_REQUEST, fill, list_texts, measure
from parc.lsp.document.edits import apply_edits
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.formatting import format_range
from parc.source import Source
from parc.syntax.parse import parse
from parc.syntax.parts import split_text
from parc.syntax.scan import MAX_PART_TOKENS
from tests.front.test_hostile import TRIES
from tests.lsp.editing import FILE, SEED, open_text
from tests.timing import find_least, measure_slowness

TEXTS = list_texts()


def check_time(run: Callable[[], object], limit: float) -> None:
    """`run` takes at most `limit` ms of CPU."""

    def measure_once() -> float:
        begun = time.process_time()
        run()
        return 1e3 * (time.process_time() - begun)

    least = find_least(measure_once, limit, TRIES)
    assert least <= limit * (1 if least <= limit else measure_slowness())


@pytest.mark.parametrize(
    "name",
    [
        "80 kB, list",
        "250 kB, sum",
        "250 kB, keys",
        "1 MB of lines",
        "100,000 brackets [",
        "50,000 statements",
        "7,000 statements",
        "12,000 imports",
        "largest file, keys",
    ],
)
def test_a_keystroke_is_checked_at_once(name: str) -> None:
    text, workspace = TEXTS[name], Workspace()
    workspace.set_text(FILE, text, 1)
    workspace.analyse(FILE)
    middle, versions = len(text) // 2, iter(range(2, 99))

    def type_letter() -> None:
        version = next(versions)
        workspace.set_text(FILE, f"{text[:middle]}{'a' * (version % 2)}{text[middle:]}", version)
        assert workspace.analyse(FILE)

    check_time(type_letter, MAX_KEYSTROKE)


@pytest.mark.parametrize(
    "name",
    ["250 kB, wide", "largest statement, mesh", pytest.param("7,000 statements", marks=pytest.mark.slow)],
)
def test_every_request_is_answered_at_once(name: str) -> None:
    found = measure(TEXTS[name])
    assert len(found) > 15
    slow = {each: ms for each, ms in found.items() if ms > MAX_REQUEST}
    assert not slow or max(slow.values()) <= MAX_REQUEST * measure_slowness()


@pytest.mark.parametrize("piece", ["[", "(", "{", "[(", "{[", "[(}", "}])"])
def test_brackets_are_split_in_linear_time(piece: str) -> None:
    """Closing signs without their openers once searched all open brackets: minutes for 100 kB."""
    text = fill("", piece, 14_000) + ")" * 14_000
    check_time(lambda: split_text(text), MAX_KEYSTROKE)


def test_a_statement_that_is_too_large_is_reported_at_its_first_token_too_many() -> None:
    text = SEED + "\nlet x = [" + "1," * MAX_PART_TOKENS + "1]\n"
    file, faults = parse(Source("plan.parc", text))
    assert file.unread
    assert not file.statements
    assert [(each.code, each.message) for each in faults] == [
        ("P005", f"a statement has at most {MAX_PART_TOKENS:,} tokens")
    ]


def test_the_largest_statement_is_read() -> None:
    text = "let x = [" + "1," * (MAX_PART_TOKENS // 2 - 3) + "1]"
    file, faults = parse(Source("plan.parc", text))
    assert (len(file.statements), faults) == (1, ())


def test_a_text_that_is_too_large_and_is_cut_again_is_read() -> None:
    workspace = Workspace()
    for version, text in enumerate((SEED, SEED * 100, SEED)):
        workspace.set_text(FILE, text, version)
        analysis = workspace.analyse(FILE)
        assert analysis
        assert analysis.is_unread == (version == 1)
        assert bool(analysis.plans) == (version != 1)


def test_neighbouring_statements_are_formatted_together_and_faulty_ones_left_alone() -> None:
    analysis = open_text("let  a = 1\nlet  b = 2\nlet c = = 3\nlet  d = 4\n")
    text = analysis.source.text
    edits = format_range(analysis, 0, len(text))
    assert apply_edits(text, edits) == "let a = 1\nlet b = 2\nlet c = = 3\nlet d = 4\n"
    assert len(edits) == 2
