"""Arguments of a model, comments to parc, claims, choices; highlights, linked names, types, typing."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.lsp.completion.complete import complete
from parc.lsp.document.edits import apply_edits
from parc.lsp.document.mentions import find_mention
from parc.lsp.document.workspace import Workspace
from parc.lsp.edits.code_actions import list_actions
from parc.lsp.edits.formatting import format_typed
from parc.lsp.edits.linked import list_linked, list_same
from parc.lsp.hover.hover import describe_word
from parc.lsp.language.types import CodePosition, find_type
from parc.plan.schema.meanings import MEANINGS
from parc.source import Span
from tests.front.test_schema import KEYS
from tests.lsp.editing import EXAMPLES, SEED, edit_seed, open_text, type_text

SEED_FILE = EXAMPLES / "seed.parc"


def list_labels(text: str, path: Path = SEED_FILE) -> list[str]:
    items = complete(*type_text(text, path))
    return [each.label for each in sorted(items, key=lambda item: item.order)]


def edit_text(old: str, new: str) -> str:
    assert SEED.count(old) == 1
    return SEED.replace(old, new)


def test_arguments_are_those_of_the_factory_that_have_no_value() -> None:
    labels = list_labels(edit_text("dim = 1024, n_heads = 16,", "|, n_heads = 16,"))
    assert "dim" in labels
    assert not {"n_layers", "n_heads", "self"} & set(labels)


def test_the_value_of_an_argument_is_its_default(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "m.py").write_text(
        "@dataclass\nclass M:\n    width: int\n    deep: bool = False\n\n\n"
        "def make(*, size: int = 3, name='a'): ...\n"
    )
    text = 'model m {{\n  source = "m.py:{}"\n  arguments {{ {} }}\n}}\n'
    path = tmp_path / "p.parc"
    assert list_labels(text.format("M", "|"), path) == ["width", "deep"]
    assert list_labels(text.format("M", "deep = |"), path) == ["true", "false"]
    assert list_labels(text.format("make", "|"), path) == ["size", "name"]
    assert list_labels(text.format("make", "size = |"), path) == ["3"]
    assert list_labels(text.format("missing", "|"), path) == []
    (tmp_path / "m.py").write_text("class M(")
    assert list_labels(text.format("M", "|"), path) == []


def test_after_the_operator_of_a_claim_comes_what_the_figure_is() -> None:
    assert list_labels(edit_text("devices == 128", "devices == |128")) == ["128"]
    assert list_labels(edit_text("devices == 128", "devices == |")) == ["128"]
    labels = list_labels("let half = 4 ms\n" + edit_text("devices == 128", "step_time <= |"))
    assert labels[0].endswith((" s", " ms"))
    assert "half" in labels


@pytest.mark.parametrize("comment", ["# parc: allow |", "  #parc: allow P208, |", "# parc: allow-file P2|"])
def test_codes_follow_allow_those_that_are_reported_first(comment: str) -> None:
    text = edit_text("microbatches = 32", "microbatches = 30") + comment
    labels = list_labels(text)
    assert labels[0] == "P208"
    assert "P202" in labels
    assert "P301" not in labels  # no comment allows it


def test_verbs_follow_the_name_of_parc_and_nothing_another_comment() -> None:
    assert list_labels(SEED + "# parc: |") == ["allow", "allow-file"]
    assert list_labels(SEED + "# allow |") == []
    assert list_labels(SEED + "# parc: allow P208 -- because |") == []


CHOICES = [(form, key) for form, key in KEYS if key.choices]


@pytest.mark.parametrize(("form", "key"), CHOICES, ids=[f"{form.kind}.{key.name}" for form, key in CHOICES])
def test_every_choice_has_a_meaning_of_its_own(form: object, key: object) -> None:
    meanings = MEANINGS[form.kind, key.name]  # type: ignore[attr-defined]
    assert list(meanings) == list(key.choices)  # type: ignore[attr-defined]
    assert len(set(meanings.values())) == len(meanings)


def test_a_schedule_says_what_it_is_in_completion_and_hover() -> None:
    items = complete(*edit_seed("schedule = 1f1b", "schedule = |"))
    details = {each.label: each.detail for each in items}
    assert "All forward passes" in details["gpipe"]
    assert len(set(details.values())) == len(details)
    described = describe_word(*edit_seed("schedule = 1f1b", "schedule = 1f|1b"))
    assert described
    assert described[0].startswith("**`1f1b`**: One forward, one backward pass")


def test_an_axis_is_highlighted_and_edited_wherever_it_is_in_its_plan() -> None:
    analysis, offset = edit_seed("data     over [ep]", "data     over [e|p]")
    mention = find_mention(analysis, offset)
    assert mention
    same = list_same(analysis, mention)
    assert [each.span.text for each in same] == ["ep"] * 3
    assert [each.is_definition for each in same] == [True, False, False]
    assert list_linked(Workspace(), analysis, mention) == same


def test_names_that_other_files_use_are_not_edited_together() -> None:
    analysis, offset = edit_seed("plan wide for seed", "plan wide for se|ed")
    mention = find_mention(analysis, offset)
    assert mention
    assert len(list_same(analysis, mention)) == 2
    assert list_linked(Workspace(), analysis, mention) == []


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("plan wide for", "plan wi|de for", "seed"),
        ("train seed {", "train se|ed {", "moe"),
        ("data     over [ep]", "data     over [e|p]", "ep"),
    ],
)
def test_the_type_of_a_block_is_the_block_that_it_is_one_of(old: str, new: str, wanted: str) -> None:
    analysis, offset = edit_seed(old, new)
    mention = find_mention(analysis, offset)
    assert mention
    found = find_type(analysis, mention.symbol)
    assert isinstance(found, Span)
    assert found.text == wanted


def test_the_type_of_a_model_is_its_class() -> None:
    analysis, offset = type_text(edit_text("model moe {", "model m|oe {"), SEED_FILE)
    mention = find_mention(analysis, offset)
    assert mention
    found = find_type(analysis, mention.symbol)
    assert isinstance(found, CodePosition)
    assert found.path.read_text(encoding="utf-8").splitlines()[found.line].startswith("class MoETransformer")


def test_a_statement_is_formatted_when_it_is_closed_and_a_line_indented_when_it_begins() -> None:
    text = edit_text("shape {\n    layers = 16,", "shape {\n        layers   = 16,")
    analysis = open_text(text)
    offset = text.index("}\n\ntrain") + 1
    assert apply_edits(text, format_typed(analysis, offset, "}")) == SEED
    analysis, offset = type_text("plan a for b on c {\n|data over [ep] {\n}\n}\n")
    assert format_typed(analysis, offset, "\n") == [(offset, offset, "  ")]
    analysis, offset = type_text("plan a for b on c {\n      |}\n")
    assert format_typed(analysis, offset, "\n") == [(offset - 6, offset, "")]
    analysis, offset = type_text("plan a for b on c {\n  data over [\n    |\n")
    assert format_typed(analysis, offset, "\n") == []


@pytest.mark.parametrize(
    ("old", "new", "title"),
    [
        (
            "microbatches = 32",
            "microbatches = 3|0",
            "`microbatches` to the nearest legal value, 16 (this",
        ),
        (" kv_heads = 16", " kv_heads = 1|2", "(this is another model)"),
        ("tp: 4]", "tp: |3]", "set `tp` of `mesh` to the nearest legal value, 2"),
    ],
)
def test_the_nearest_legal_value_names_its_key_and_what_else_changes(old: str, new: str, title: str) -> None:
    analysis, offset = edit_seed(old, new)
    titles = [each.title for each in list_actions(analysis, offset, offset) if "nearest" in each.title]
    assert any(title in each for each in titles), titles
    if "mesh" in title:
        assert not any("(" in each for each in titles)
