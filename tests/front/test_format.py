"""The one canonical style, and that nothing but the layout ever changes."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks.texts import grammatical, laid_out_anew
from parc.check.load import load_text
from parc.source import Source, Span
from parc.syntax.format import format_source
from parc.syntax.format.lines import WIDTH
from parc.syntax.format.pieces import GAP
from parc.syntax.parse import parse

ROOT = Path(__file__).parents[2]
FILES = [*ROOT.glob("examples/*.parc"), *ROOT.glob("benchmarks/*.parc")]


def format_text(text: str) -> str:
    return format_source(Source("plan.parc", text))


def drop_spans(node: object) -> object:
    """A tree or a plan without its spans."""
    if isinstance(node, Span | Source):
        return None
    if is_dataclass(node):
        parts = ((each.name, getattr(node, each.name)) for each in fields(node))
        return {name: drop_spans(part) for name, part in parts if name not in ("span", "spans")}
    if isinstance(node, tuple | list):
        return type(node).__name__, [drop_spans(part) for part in node]
    if isinstance(node, dict):
        return {key: drop_spans(part) for key, part in node.items()}
    return node


def parse_statements(text: str) -> object:
    file, faults = parse(Source("plan.parc", text))
    assert faults == ()
    return drop_spans(file.statements)


def load_plans(text: str) -> object:
    """The resolved plans, and what there is to say about them."""
    loaded = load_text(Source("plan.parc", text))
    told = sorted((each.code, each.message) for each in loaded.diagnostics)
    return drop_spans([loaded.plans, loaded.launches]), told


def list_comments(text: str) -> list[tuple[str, bool, str]]:
    """Each comment, whether it stands behind something, and the word before it."""
    import re

    found, before = [], ""
    for token in re.finditer(r'"([^"\\\n]|\\[^\n])*"|#[^\n]*|[^\s,"#]', text):
        if token[0].startswith("#"):
            behind = bool(text[text.rfind("\n", 0, token.start()) + 1 : token.start()].strip(" ,"))
            found.append((token[0].rstrip(), behind, before))
        else:
            before = token[0]
    return found


# What may never happen


def check_promises(text: str) -> None:
    """All that formatting promises, for one text without syntax faults."""
    after = format_text(text)
    assert parse_statements(after) == parse_statements(text)
    assert load_plans(after) == load_plans(text)
    assert list_comments(after) == list_comments(text)
    assert format_text(after) == after


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.integers(0, 2**32))
def test_any_text_of_the_grammar(seed: int) -> None:
    check_promises(grammatical(Random(seed)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32))
def test_the_examples_however_they_are_laid_out(seed: int) -> None:
    check_promises(laid_out_anew(Random(seed)))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_files_of_the_project_are_in_style(file: Path) -> None:
    text = file.read_text()
    assert format_text(text) == text
    check_promises(text)


def test_the_plan_in_the_readme_is_in_style() -> None:
    readme = (ROOT / "README.md").read_text()
    start = readme.index("    cluster here")
    plan = readme[start : readme.index("\n\nWhat does not fit")].replace(", …", "")
    text = "".join(f"{line.removeprefix('    ')}\n" for line in plan.split("\n"))
    assert format_text(text) == text


# What the style is


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", ""),
        ("\n\n  \n", ""),
        ("let a=1", "let a = 1\n"),
        ("let a=1,let b=2", "let a = 1\nlet b = 2\n"),
        ("let a = -1+2*-( 3 )", "let a = -1 + 2 * -(3)\n"),
        ("let a = - f( 1,b=2 )", "let a = -f(1, b = 2)\n"),
        ("let a = x . y", "let a = x.y\n"),
        ("a.b<=90 %", "a.b <= 90%\n"),
        ("let a = 1.8TB/s", "let a = 1.8 TB/s\n"),
        ("let a = 64   GB / 4 s", "let a = 64 GB / 4 s\n"),
        ("let a = 1f1b", "let a = 1f1b\n"),  # no unit: it stays what it was
        ("data over[ep,tp]{}", "data over [ep, tp] {}\n"),
        ("mesh=[ep:8 ,tp : 4,]", "mesh = [ep: 8, tp: 4]\n"),
        ("train a {steps=1,seed=2,}", "train a { steps = 1, seed = 2 }\n"),
        ("# a\r\n\n\n\n# b   \nlet a = 1\n\n\n", "# a\n\n# b\nlet a = 1\n"),
        ("\n\ntrain a {\n\n  steps = 1\n\n}", "train a {\n  steps = 1\n}\n"),
    ],
)
def test_blanks(before: str, after: str) -> None:
    assert format_text(before.replace("\r\n", "\n")) == after


def test_a_broken_bracket_stays_broken_and_keeps_its_lines() -> None:
    assert format_text("train a { steps = 1, seed = 2\n model = moe }") == (
        "train a {\n  steps = 1, seed = 2\n  model = moe\n}\n"
    )
    assert format_text("let a = [1, 2,\n3]") == "let a = [\n  1, 2,\n  3,\n]\n"
    assert format_text("let a = (\n1 + 2)") == "let a = (\n  1 + 2\n)\n"


def test_neighbouring_lines_are_aligned() -> None:
    assert format_text("train a {\nmodel = moe, seed = 1\nbatch{ length = 8 }\noptimizer = adamw\n}") == (
        "train a {\n  model     = moe, seed = 1\n  batch     { length = 8 }\n  optimizer = adamw\n}\n"
    )
    assert (
        format_text("let a = 1\nlet long = 2\n\nlet b = 3\n") == "let a    = 1\nlet long = 2\n\nlet b = 3\n"
    )


def test_only_neighbours_of_one_kind_are_aligned() -> None:
    plan = (
        "plan wide for first on farm {\n"
        "  mesh = [dp: 2, pp: 2]\n"
        "  data     over [dp]\n"
        "  pipeline over [pp] { chunks = 1 }\n"
        "  expect {\n"
        "    devices     == 4\n"
        "    memory.peak <= 90%\n"
        "  }\n"
        "}\n"
    )
    assert format_text(plan) == plan


def test_a_paragraph_of_many_statements_is_not_aligned() -> None:
    shape = "shape {\n  layers = 16, hidden = 1024\n  kv_heads = 8, experts = 64\n}\n"
    assert format_text(shape) == shape


def test_what_is_too_long_is_broken_where_it_must_be() -> None:
    entries = ", ".join(f"{number} * 1000000" for number in range(20))
    lines = format_text(f"let sizes = [{entries}]").split("\n")
    assert lines[0] == "let sizes = ["
    assert lines[-2] == "]"
    assert all(len(line) <= WIDTH for line in lines)
    assert len(lines[1]) > WIDTH - len("19 * 1000000, ")


def test_of_several_brackets_in_too_long_a_line_as_many_are_broken_as_must_be() -> None:
    axes = ", ".join(f"axis_number_{number}" for number in range(12))
    broken = format_text(f"data over [{axes}] {{ shard = none }}").split("\n")
    assert (broken[0], broken[-3:]) == ("data over [", ["  shard = none", "}", ""])
    assert all(len(line) <= WIDTH for line in broken)


def test_a_word_that_is_too_long_stays() -> None:
    text = f'let pattern = "{"x" * 200}"\n'
    assert format_text(text) == text


def test_blank_lines_go_around_large_blocks() -> None:
    assert format_text("let a = 1\ntrain b {\n}\n# of c\ntrain c { steps = 1\n}\nlet d = 1") == (
        "let a = 1\ntrain b {}\n\n# of c\ntrain c {\n  steps = 1\n}\n\nlet d = 1\n"
    )


def test_comments_stay_where_they_are() -> None:
    text = (
        "# of the file\n\n"
        "# of the block\n"
        "train a {  # behind the brace\n"
        "  # above\n"
        "  steps = 1  # behind\n"
        "  seed  = 2  # and behind\n"
        "\n"
        "  # at the end\n"
        "}  # behind the end\n"
        "# last\n"
    )
    assert format_text(text) == text
    assert (
        format_text("let a = [ # one\n1, # two\n# three\n]")
        == "let a = [  # one\n  1,  # two\n  # three\n]\n"
    )


def test_a_change_of_words_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    from parc.syntax.format.lines import Printer

    monkeypatch.setattr(Printer, "print_file", lambda self, file: "let a = 2\n")
    with pytest.raises(AssertionError, match="changed a token"):
        format_text("let a = 1")


def test_comments_are_found_between_words_alone() -> None:
    assert GAP.findall(" # a # b\n , \n") == ["# a # b", "\n", "\n"]
