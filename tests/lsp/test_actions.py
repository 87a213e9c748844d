"""Edits that are offered, and the texts that they lead to."""

from __future__ import annotations

from time import process_time

import pytest

from parc.lsp.document.analysis import Analysis
from parc.lsp.document.edits import apply_edits, find_difference
from parc.lsp.edits.code_actions import Action, build_fix_all, list_actions
from parc.lsp.edits.legal_values import parse_axes
from tests.lsp.editing import FILE, SEED, edit_seed, open_text, type_text


def map_actions(analysis: Analysis, offset: int) -> dict[str, Action]:
    return {action.title: action for action in list_actions(analysis, offset, offset)}


def apply_action(analysis: Analysis, action: Action) -> str:
    return apply_edits(analysis.source.text, action.edits[FILE])


def list_errors(text: str) -> list[str]:
    return [each.code for each in open_text(text).loaded.diagnostics if each.severity.value == "error"]


def test_a_fix_that_is_safe_and_one_that_is_a_guess() -> None:
    analysis, offset = edit_seed("data     over [ep]", "data     over |ep")
    action = map_actions(analysis, offset)["put the axis in brackets"]
    assert action.safe
    assert "data     over [ep]" in apply_action(analysis, action)
    analysis, offset = type_text("train a |{\n  steps = 1\n\ntrain b { }\n")
    guess = [each for each in map_actions(analysis, offset).values() if "unsafe" in each.title]
    assert guess
    assert not guess[0].safe


def test_all_safe_fixes_at_once() -> None:
    text = SEED.replace("data     over [ep]", "data     over ep").replace("sequences = 256", "sequnces = 256")
    analysis = open_text(text)
    action = build_fix_all(analysis)
    assert action is not None
    text = apply_action(analysis, action)
    assert "sequences = 256" in text
    assert "over [ep]" in text
    assert list_errors(text) == []
    assert build_fix_all(open_text(text)) is None


def test_a_finding_is_allowed_by_a_comment_with_a_reason() -> None:
    analysis, offset = edit_seed("levels = [fabric: 8, node: 16]", "levels = [fabric: 16, node: |16]")
    codes = {each.code for each in analysis.loaded.diagnostics}
    code = next(
        code for code in codes if f"allow {code} here, with a reason" in map_actions(analysis, offset)
    )
    action = map_actions(analysis, offset)[f"allow {code} here, with a reason"]
    text = apply_action(analysis, action)
    assert f"# parc: allow {code} -- reason\n" in text
    assert code not in {each.code for each in open_text(text).loaded.diagnostics}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[ep: 8", "[ep: |GB"),
        ("over [ep] ", "over [pe|] "),  # P301: found by reading
        ("  loss ", "  approximate { capacity = |2 }\n  loss "),  # P312: what is computed changes
    ],
)
def test_a_finding_that_cannot_be_allowed_has_no_such_action(old: str, new: str) -> None:
    analysis, offset = edit_seed(old, new)
    assert analysis.loaded.diagnostics
    assert not [title for title in map_actions(analysis, offset) if title.startswith("allow")]


def test_layers_are_spread_evenly() -> None:
    analysis, offset = edit_seed("layers = [4, 4, 4, 4]", "layers = [|5, 5, 5, 1]")
    action = map_actions(analysis, offset)["spread 16 layers evenly"]
    assert "layers = [4, 4, 4, 4]" in apply_action(analysis, action)
    analysis, offset = edit_seed("layers = [4, 4, 4, 4]", "layers = [|4, 4, 4, 4]")
    assert "spread 16 layers evenly" not in map_actions(analysis, offset)


def test_an_axis_is_moved_inside_the_node() -> None:
    """A group of 8 with 16 ranks between neighbours touches 8 nodes of 16; innermost it has one."""
    analysis, offset = edit_seed("mesh = [ep: 8, pp: 4, tp: 4]", "mesh = [e|p: 8, pp: 4, tp: 4]")
    action = map_actions(analysis, offset)["move the axis `ep` inside the node"]
    assert "mesh = [pp: 4, tp: 4, ep: 8]" in apply_action(analysis, action)
    analysis, offset = edit_seed("mesh = [ep: 8, pp: 4, tp: 4]", "mesh = [ep: 8, pp: 4, t|p: 4]")
    assert not [title for title in map_actions(analysis, offset) if title.startswith("move")]


def test_the_nearest_legal_values() -> None:
    """256 sequences over 8 ranks and 30 microbatches do not divide; 240 and 32 x 8 do, that is 32 and 16."""
    analysis, offset = edit_seed("microbatches = 32", "microbatches = 3|0")
    values = [each for each in map_actions(analysis, offset) if "nearest legal value" in each]
    assert values == [
        f"set `microbatches` to the nearest legal value, {value} (this changes what is computed)"
        for value in (16, 32)
    ]


def test_comments_stay_when_an_axis_is_moved() -> None:
    entries = "[\n    ep|: 8, # outermost\n    pp: 4,\n    tp: 4, # innermost\n  ]"
    analysis, offset = edit_seed("[ep: 8, pp: 4, tp: 4]", entries)
    action = next(
        each for title, each in map_actions(analysis, offset).items() if title.startswith("move the axis")
    )
    assert "# outermost" in apply_action(analysis, action)
    assert "# innermost" in apply_action(analysis, action)


def test_the_nearest_legal_values_of_a_huge_one_are_found_at_once() -> None:
    analysis, offset = edit_seed("microbatches = 32", "microbatches = |1000000000000000")
    begun = process_time()
    map_actions(analysis, offset)
    assert process_time() - begun < 5  # 48 readings of the file, of 20 ms at most; one by one it takes years


def test_of_a_number_too_long_to_be_read_nothing_is_near() -> None:
    analysis, offset = edit_seed("microbatches = 32", "microbatches = |" + "9" * 5000)
    assert not any("nearest" in title for title in map_actions(analysis, offset))
    assert parse_axes("mesh = [ep: " + "9" * 5000 + ", tp: 4]") == {"ep": 1, "tp": 4}


def test_nothing_is_offered_where_nothing_is_wrong() -> None:
    analysis, offset = edit_seed("seed = 1", "seed = |1")
    assert map_actions(analysis, offset) == {}


@pytest.mark.parametrize(
    ("before", "then"), [("abc", "abc"), ("", "a"), ("aa", "a"), ("xay", "xby"), ("aXa", "aa")]
)
def test_a_difference_is_one_edit(before: str, then: str) -> None:
    edits = find_difference(before, then)
    assert apply_edits(before, edits) == then
    assert len(edits) == (before != then)
