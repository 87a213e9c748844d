"""How a diagnostic looks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parc.diagnostic import Diagnostic, Label, Severity, error
from parc.render.text import render, render_concise, summarize
from parc.source import Source
from tests.front.plans import complete, load


def render_text(text: str, *overrides: str) -> str:
    return render(load(text, *overrides).diagnostics)


def test_one_label() -> None:
    assert render_text("let width = 64 GBs\n") == (
        "error[P108]: there is no unit `GBs`\n"
        " --> plan.parc:1:16\n"
        "  |\n"
        "1 | let width = 64 GBs\n"
        "  |                ^^^ unknown unit\n"
        "  |\n"
        "  = help: did you mean `GB`?\n"
    )


def test_labels_on_several_lines_with_the_arithmetic() -> None:
    text = complete("plan wide for first on farm {\n  mesh = [dp: 3]\n  data over [dp]\n}").replace(
        "\n\n", "\n"
    )
    assert render_text(text) == (
        "error[P208]: 32 sequences cannot be divided into 4 microbatches x 3 data ranks\n"
        "  --> plan.parc:15:23\n"
        "   |\n"
        " 2 |   mesh = [dp: 3]\n"
        "   |           ----- 3 data ranks of `dp`\n"
        "...\n"
        "15 |   batch { sequences = 32, length = 1024, microbatches = 4 }\n"
        "   |                       ^^                                - 4 microbatches\n"
        "   |                       |\n"
        "   |                       32 sequences\n"
        "   |\n"
        "   = note: 32 / (4 microbatches x 3 data ranks) = 2.67 sequences each\n"
        "   = help: nearest that divide: sequences: 24 or 36\n"
    )


def test_a_setting_of_the_command_line_is_a_source_of_its_own() -> None:
    assert render_text(complete(""), "first.sede=3") == (
        "error[P102]: the train `first` has no key `sede`\n"
        " --> --set:1:7\n"
        "  |\n"
        "1 | first.sede=3\n"
        "  |       ^^^^ unknown key\n"
        "  |\n"
        "  = help: did you mean `seed`?\n"
        "  = fix: write `seed` (--fix)\n"
    )


def test_labels_in_two_files() -> None:
    plan, model = Source("a.parc", "tp: 4\n"), Source("moe.py", "import torch\n\tx = self.wq(x)\n")
    fault = error(
        "P501",
        "cannot be split",
        Label(model.make_line_span(2), "this view"),
        Label(plan.make_span(0, 5), "by this axis", primary=False),
    )
    assert render([fault]) == (
        "error[P501]: cannot be split\n"
        " --> moe.py:2:2\n"
        "  |\n"
        "2 |     x = self.wq(x)\n"
        "  |     ^^^^^^^^^^^^^^ this view\n"
        " ::: a.parc:1:1\n"
        "  |\n"
        "1 | tp: 4\n"
        "  | ----- by this axis\n"
    )


def test_three_labels_on_a_line() -> None:
    source = Source("a.parc", "aa bb cc")
    labels = [Label(source.make_span(i, i + 2), f"label {i}", primary=i == 3) for i in (0, 3, 6)]
    assert render([Diagnostic("P101", Severity.WARNING, "three", tuple(labels))]).splitlines()[3:] == [
        "1 | aa bb cc",
        "  | -- ^^ -- label 6",
        "  | |  |",
        "  | |  label 3",
        "  | |",
        "  | label 0",
    ]


def test_a_label_within_another_is_seen() -> None:
    source = Source("a.parc", "mesh = [dp: 4]")
    outer, inner = (
        Label(source.make_span(0, 14), "outer"),
        Label(source.make_span(8, 13), "inner", primary=False),
    )
    for labels in ([outer, inner], [inner, outer]):
        assert render([error("P101", "two", *labels)]).splitlines()[3:] == [
            "1 | mesh = [dp: 4]",
            "  | ^^^^^^^^-----^ inner",
            "  | |",
            "  | outer",
        ]


def test_an_empty_place_is_still_marked() -> None:
    assert "1 | let x =\n  |        ^ a value is missing here\n" in render_text("let x =\nlet y = 1")


def test_a_label_over_several_lines_is_drawn_beside_them() -> None:
    source = Source("a.parc", "plan {\n  x = [1]\n}\n")
    inner = Label(source.make_span(13, 16), "inner", primary=False)
    assert render([error("P101", "long", Label(source.make_span(0, 18), "here"), inner)]).splitlines()[
        3:
    ] == [
        "1 | / plan {",
        "2 | |   x = [1]",
        "  | |       --- inner",
        "3 | | }",
        "  | |_^ here",
    ]


def test_one_that_begins_within_a_line_and_of_which_most_is_left_out() -> None:
    source = Source("a.parc", "let a = [\n" + "  1,\n" * 10 + "  2,\n  3, 4]\nlet b = 1\n")
    start, end = source.text.index("["), source.text.index("]") + 1
    labels = [
        Label(source.make_span(start, end), "no plain values"),
        Label(source.make_span(4, 5), "of this", primary=False),
    ]
    assert render([error("P106", "long", *labels)]).splitlines()[3:] == [
        " 1 |   let a = [",
        "   |       - of this",
        "   |  _________^",
        "...  |",
        "13 | |   3, 4]",
        "   | |_______^ no plain values",
    ]


@given(st.text(alphabet="ab \n", max_size=300), st.integers(50, 90), st.data())
def test_no_line_is_wider_than_the_terminal(text: str, width: int, data: st.DataObject) -> None:
    source = Source("a.parc", text)
    start, end = sorted(data.draw(st.integers(0, len(text))) for _ in range(2))
    labels = [
        Label(source.make_span(start, end), "a label of some length"),
        Label(source.make_span(end, end), "end", False),
    ]
    shown = render([error("P001", "message", *labels)], width=width)
    assert max(map(len, shown.split("\n"))) <= width


def test_wide_characters_and_tabs_keep_the_marks_in_place() -> None:
    source = Source("a.parc", '\t"模型" x')
    text = render([error("P101", "wide", Label(source.make_span(6, 7)))])
    assert text.splitlines()[3:] == ['1 |     "模型" x', "  |            ^"]


def test_a_long_line_is_cut_around_the_label() -> None:
    source = Source("a.parc", "x" * 500 + "!" + "y" * 500)
    lines = render([error("P002", "long", Label(source.make_span(500, 501), "here"))]).splitlines()
    assert len(lines[3]) < 160
    assert lines[3][lines[4].index("^")] == "!"


def test_a_fault_without_a_place() -> None:
    assert render([error("P009", "cannot read", help="look")]) == "error[P009]: cannot read\n  = help: look\n"


def test_colours_change_nothing_but_colours() -> None:
    import re

    faults = load(complete("plan wide for first on farm {\n mesh = [dp: 3]\n data over [dp]\n}")).diagnostics
    colored = render(faults, color=True)
    assert "\033[1;31m" in colored
    assert re.sub(r"\033\[[0-9;]*m", "", colored) == render(faults)


def test_concise_is_one_line_a_diagnostic() -> None:
    faults = load(complete("let a = 1 / 0\nlet b = 2 GBs")).diagnostics
    assert render_concise(faults).splitlines() == [
        "plan.parc:1:13: error[P110]: division by zero",
        "plan.parc:2:11: error[P108]: there is no unit `GBs`",
    ]


def test_the_summary_counts() -> None:
    fault = error("P001", "x")
    hint = Diagnostic("P202", Severity.WARNING, "y")
    assert summarize([fault, hint, fault]) == "2 errors, 1 warning"
    assert summarize([]) == ""


@given(st.text(max_size=200), st.data())
def test_any_text_can_be_shown_and_no_control_character_reaches_the_terminal(
    text: str, data: st.DataObject
) -> None:
    source = Source("a.parc", text)
    labels = []
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, len(text)))
        labels.append(
            Label(source.make_span(start, end), data.draw(st.text(max_size=5)), data.draw(st.booleans()))
        )
    shown = render([error("P001", text, *labels)])
    assert all(line.isprintable() for line in shown.split("\n"))


def test_a_narrow_terminal_is_not_overrun() -> None:
    """The lines of the file are cut, the sentences folded; a label goes under its line where it must."""
    text = complete("plan wide for first on farm {\n  mesh = [dp: 3]\n  data over [dp]\n}")
    text = text.replace("\n  batch", " " * 30 + "batch").replace("= moe", "= moe,")
    faults = load(text).diagnostics
    for width in (50, 60, 72, 100):
        lines = render(faults, width=width).splitlines()
        assert max(map(len, lines)) <= width
        shown = " ".join(" ".join(lines).split())
        assert "32 sequences cannot be divided into 4 microbatches x 3 data ranks" in shown
        assert "= help: nearest that divide: sequences: 24 or 36" in shown
        assert "4 microbatches" in shown


def test_without_a_terminal_sentences_are_not_folded() -> None:
    fault = error("P001", "word " * 60, notes=("word " * 60,))
    assert len(render([fault]).splitlines()) == 2
    assert max(map(len, render([fault], width=80).splitlines())) <= 80
