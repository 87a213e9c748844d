"""Reading a text again after an edit tells what reading it afresh tells."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from benchmarks.plain import plain
from parc.check.incremental import History
from parc.check.load import load_text
from parc.source import Source
from tests.front.plans import SEED
from tests.front.test_parts import mutate_text


@pytest.mark.parametrize("seed", range(20))
def test_diagnostics_are_those_of_a_fresh_reading(seed: int) -> None:
    random, history, text = Random(seed), History(), SEED
    for _ in range(12):
        text = mutate_text(random, text)
        assert plain(load_text(Source("plan.parc", text), history=history)) == plain(
            load_text(Source("plan.parc", text), tries_fixes=False)
        )


def test_an_unchanged_block_below_an_edit_keeps_its_plan_and_its_place_moves() -> None:
    history, text = (
        History(),
        SEED + "plan small for first on farm {\n  mesh = [dp: 64]\n  data over [dp]\n}\n",
    )
    before = load_text(Source("plan.parc", text), history=history).plans
    moved = text.replace("launch slurm", "# a comment\nlaunch slurm")
    after = load_text(Source("plan.parc", moved), history=history).plans
    assert before[1] is after[1]
    span = history.locate(after[1].span)
    assert span.text.startswith("plan small")
    assert span.source.text == moved


def test_a_constant_that_has_moved_is_found_where_it_is_now() -> None:
    """Its worth is the same, and the claim about it says where it is defined."""
    text = "let half = 4 ms\n" + SEED.replace("devices == 128", "half <= 3 ms")
    history = History()
    load_text(Source("plan.parc", text), history=history)
    moved = Source("plan.parc", "# a comment\n" + text.replace("4 ms\n", "4 ms  # a word on it\n"))
    assert plain(load_text(moved, history=history)) == plain(load_text(moved))


def test_imported_files_are_read_again_too(tmp_path: Path) -> None:
    farm, plan = SEED.split("\n\n", 1)
    texts = {str(tmp_path / "farm.parc"): farm}
    source = Source(str(tmp_path / "plan.parc"), f'import "farm.parc"\n\n{plan}')
    history = History()
    (tmp_path / "farm.parc").write_text(farm)
    assert not load_text(source, texts=texts, history=history).diagnostics
    texts = {str(tmp_path / "farm.parc"): farm.replace("cluster farm", "cluster frm")}
    assert plain(load_text(source, texts=texts, history=history)) == plain(load_text(source, texts=texts))
    assert [each.code for each in load_text(source, texts=texts, history=history).diagnostics] == ["P101"]
