"""Hints behind lines, lenses above plans, and the messages to a picture."""

from __future__ import annotations

import pytest

from parc.lsp.document.analysis import Analysis
from parc.lsp.language import picture
from parc.lsp.language.code_lenses import format_title, list_lenses
from parc.lsp.language.inlay_hints import list_hints
from tests.lsp.editing import SEED, edit_seed, open_text


def list_hint_texts(analysis: Analysis) -> dict[str, str]:
    """By their lines."""
    source = analysis.source
    return {
        source.get_line(source.line_number(each.offset)).split()[0]: each.text
        for each in list_hints(analysis, 0, len(source.text))
    }


def test_derived_sizes_stand_behind_the_lines() -> None:
    """256 sequences / (32 microbatches x 8), 16 heads / 4, 64 experts / 8, (4 - 1) / (32 + 4 - 1) = 8.57%."""
    assert list_hint_texts(open_text(SEED)) == {
        "mesh": "= 128 ranks",
        "data": "= 1 sequence a rank and microbatch",
        "tensor": "= 4 heads a rank",
        "experts": "= 8 experts a rank",
        "pipeline": "= 4 stages, 32 ranks each, bubble 8.57%",
    }


def test_what_does_not_divide_has_no_hint() -> None:
    assert "tensor" not in list_hint_texts(open_text(SEED.replace("tp: 4]", "tp: 5]")))


def test_hints_of_a_range() -> None:
    analysis = open_text(SEED)
    at = SEED.index("experts  over")
    assert [each.text for each in list_hints(analysis, at, at + 20)] == ["= 8 experts a rank"]


def list_titles(text: str, trusted: bool = False) -> list[str]:
    analysis = open_text(text)
    return [
        format_title(analysis, each.kind, each.plan)
        for each in list_lenses(analysis, {"picture", "build"}, trusted)
    ]


def test_lenses_price_a_plan_and_build_it_only_where_that_is_trusted() -> None:
    found = list_titles(SEED)
    assert found[0].endswith("a GPU (estimated)")
    assert "GB of 64 GB" in found[0]
    assert " a step (" in found[1]
    assert found[2:] == ["open the picture"]
    assert list_titles(SEED, trusted=True)[3:] == ["build"]


def test_a_lens_names_what_is_missing() -> None:
    assert "`vocab`" in list_titles(SEED.replace("vocab = 32000\n  }\n}", "\n  }\n}"))[0]


@pytest.mark.parametrize(
    ("old", "new", "lit"),
    [
        ("mesh = [ep: 8", "mesh = [e|p: 8", {"axis": "ep"}),
        ("{ tensor = [tp] }", "{ tensor = [t|p] }", {"axis": "tp"}),
        ("[4, 4, 4, 4]", "[4, 4, |4, 4]", {"stage": 2}),
        ("pipeline over", "pipe|line over", {"axis": "pp"}),
        ("seed = 1", "seed = |1", {}),
    ],
)
def test_what_lights_up(old: str, new: str, lit: dict[str, object]) -> None:
    assert picture.derive_highlight(*edit_seed(old, new)) == {"parc": 1, "type": "highlight", **lit}


def test_a_picture_is_of_the_plan_at_the_cursor() -> None:
    text = SEED + SEED[SEED.index("plan wide") :].replace("wide", "other")
    analysis = open_text(text)
    found = picture.draw_picture(analysis, None, text.rindex("[ep: 8"))
    assert isinstance(found, picture.Picture)
    assert found.plan == "other"
    assert found.html.startswith("<!")
    assert picture.draw_picture(analysis, "gone") == "the file has no such plan"


def test_a_plan_with_errors_is_not_drawn() -> None:
    """The cost model is for plans that fit; the other plan of the file is drawn all the same."""
    text = SEED + "plan other for seed on farm {\n  mesh = [dp: 7]\n  data over [dp]\n}\n"
    assert picture.draw_picture(open_text(text), "other") == "the plan has errors and cannot be drawn"
    assert isinstance(picture.draw_picture(open_text(text), "wide"), picture.Picture)


def test_the_lines_that_placed_a_rank() -> None:
    """Rank 37 of [ep: 8, pp: 4, tp: 4] is (2, 1, 1): 2 * 16 + 1 * 4 + 1."""
    found = {span.text: text for span, text in picture.explain_placement(open_text(SEED), "wide", 37)}
    assert found["ep: 8"] == "ep = 2 of 8"
    assert found["pp: 4"] == "pp = 1 of 4"
    assert found["tp: 4"] == "tp = 1 of 4"
    assert found["[4, 4, 4, 4]"] == "layers 4 to 7"
    assert picture.explain_placement(open_text(SEED), "wide", 128) == []
