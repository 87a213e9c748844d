"""Edits that are offered, and the texts that they lead to."""

from __future__ import annotations

from time import process_time

import pytest

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import apply_edits, find_difference
from parc.lsp.edits.code_actions import Action, build_fix_all, list_actions
from parc.lsp.edits.legal_values import parse_axes
from tests.lsp.editing import FILE, SEED, opened, seed, typed


def offered(analysis: Analysis, offset: int) -> dict[str, Action]:
    return {action.title: action for action in list_actions(analysis, offset, offset)}


def after(analysis: Analysis, action: Action) -> str:
    return apply_edits(analysis.source.text, action.edits[FILE])


def errors(text: str) -> list[str]:
    return [each.code for each in opened(text).loaded.diagnostics if each.severity.value == "error"]


def test_a_fix_that_is_safe_and_one_that_is_a_guess() -> None:
    analysis, offset = seed("data     over [ep]", "data     over |ep")
    action = offered(analysis, offset)["put the axis in brackets"]
    assert action.safe
    assert "data     over [ep]" in after(analysis, action)
    analysis, offset = typed("train a |{\n  steps = 1\n\ntrain b { }\n")
    guess = [each for each in offered(analysis, offset).values() if "unsafe" in each.title]
    assert guess
    assert not guess[0].safe


def test_all_safe_fixes_at_once() -> None:
    text = SEED.replace("data     over [ep]", "data     over ep").replace("sequences = 256", "sequnces = 256")
    analysis = opened(text)
    action = build_fix_all(analysis)
    assert action is not None
    text = after(analysis, action)
    assert "sequences = 256" in text
    assert "over [ep]" in text
    assert errors(text) == []
    assert build_fix_all(opened(text)) is None


def test_a_finding_is_allowed_by_a_comment_with_a_reason() -> None:
    analysis, offset = seed("levels = [fabric: 8, node: 16]", "levels = [fabric: 16, node: |16]")
    told = {each.code for each in analysis.loaded.diagnostics}
    code = next(code for code in told if f"allow {code} here, with a reason" in offered(analysis, offset))
    action = offered(analysis, offset)[f"allow {code} here, with a reason"]
    text = after(analysis, action)
    assert f"# parc: allow {code} -- reason\n" in text
    assert code not in {each.code for each in opened(text).loaded.diagnostics}


def test_a_fault_that_cannot_be_allowed_has_no_such_action() -> None:
    analysis, offset = seed("[ep: 8", "[ep: |GB")
    assert not [title for title in offered(analysis, offset) if title.startswith("allow")]


def test_layers_are_spread_evenly() -> None:
    analysis, offset = seed("layers = [4, 4, 4, 4]", "layers = [|5, 5, 5, 1]")
    action = offered(analysis, offset)["spread 16 layers evenly"]
    assert "layers = [4, 4, 4, 4]" in after(analysis, action)
    analysis, offset = seed("layers = [4, 4, 4, 4]", "layers = [|4, 4, 4, 4]")
    assert "spread 16 layers evenly" not in offered(analysis, offset)


def test_an_axis_is_moved_inside_the_node() -> None:
    """A group of 8 with 16 ranks between neighbours touches 8 nodes of 16; innermost it has one."""
    analysis, offset = seed("mesh = [ep: 8, pp: 4, tp: 4]", "mesh = [e|p: 8, pp: 4, tp: 4]")
    action = offered(analysis, offset)["move the axis `ep` inside the node"]
    assert "mesh = [pp: 4, tp: 4, ep: 8]" in after(analysis, action)
    analysis, offset = seed("mesh = [ep: 8, pp: 4, tp: 4]", "mesh = [ep: 8, pp: 4, t|p: 4]")
    assert not [title for title in offered(analysis, offset) if title.startswith("move")]


def test_the_nearest_legal_values() -> None:
    """256 sequences over 8 ranks and 30 microbatches do not divide; 240 and 32 x 8 do, that is 32 and 16."""
    analysis, offset = seed("microbatches = 32", "microbatches = 3|0")
    values = [each for each in offered(analysis, offset) if each.startswith("choose the nearest legal value")]
    assert values == ["choose the nearest legal value: 16", "choose the nearest legal value: 32"]


def test_comments_stay_when_an_axis_is_moved() -> None:
    entries = "[\n    ep|: 8, # outermost\n    pp: 4,\n    tp: 4, # innermost\n  ]"
    analysis, offset = seed("[ep: 8, pp: 4, tp: 4]", entries)
    action = next(
        each for title, each in offered(analysis, offset).items() if title.startswith("move the axis")
    )
    assert "# outermost" in after(analysis, action)
    assert "# innermost" in after(analysis, action)


def test_the_nearest_legal_values_of_a_huge_one_are_found_at_once() -> None:
    analysis, offset = seed("microbatches = 32", "microbatches = |1000000000000000")
    begun = process_time()
    offered(analysis, offset)
    assert process_time() - begun < 5  # 48 readings of the file, of 20 ms at most; one by one it takes years


def test_of_a_number_too_long_to_be_read_nothing_is_near() -> None:
    analysis, offset = seed("microbatches = 32", "microbatches = |" + "9" * 5000)
    assert not any("nearest" in title for title in offered(analysis, offset))
    assert parse_axes("mesh = [ep: " + "9" * 5000 + ", tp: 4]") == {"ep": 1, "tp": 4}


def test_nothing_is_offered_where_nothing_is_wrong() -> None:
    analysis, offset = seed("seed = 1", "seed = |1")
    assert offered(analysis, offset) == {}


@pytest.mark.parametrize(
    ("before", "then"), [("abc", "abc"), ("", "a"), ("aa", "a"), ("xay", "xby"), ("aXa", "aa")]
)
def test_a_difference_is_one_edit(before: str, then: str) -> None:
    edits = find_difference(before, then)
    assert apply_edits(before, edits) == then
    assert len(edits) == (before != then)
