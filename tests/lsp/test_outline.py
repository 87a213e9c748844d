"""Symbols, folds, selections, links, colours, layout and help, of whole texts and of half typed ones."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from parc.lsp.document.edits import apply_edits
from parc.lsp.edits.formatting import format_file, format_range
from parc.lsp.language import outline
from parc.lsp.language.semantic_tokens import list_tokens
from parc.lsp.language.signature_help import find_signature
from tests.lsp.editing import EXAMPLES, SEED, edit_seed, open_text, type_text


def test_symbols_are_nested_as_blocks_are() -> None:
    found = outline.outline_file(open_text(SEED))
    assert [(each.kind, each.label, each.detail) for each in found] == [
        ("cluster", "farm", "cluster farm"),
        ("model", "moe", "model moe"),
        ("train", "seed", "train seed"),
        ("plan", "wide", "plan wide for seed on farm"),
    ]
    assert [each.label for each in found[3].children] == [
        "mesh",
        "data",
        "tensor",
        "experts",
        "pipeline",
        "expect",
    ]
    assert found[3].children[3].detail == "experts over [ep]"


def test_symbols_around_a_syntax_error_stay() -> None:
    text = SEED.replace("  model     = moe, seed = 1, steps = 1000", "  model     = moe, seed = = = ")
    assert [each.label for each in outline.outline_file(open_text(text))] == ["farm", "moe", "seed", "wide"]


def test_bodies_lists_and_comments_fold() -> None:
    text = "# one\n# two\ntrain a {\n  batch {\n    length = 1\n  }\n}\nlet b = [\n  1,\n  2\n]\n# alone\n"
    assert sorted(outline.list_foldings(open_text(text))) == [
        (0, 1, True),
        (2, 5, False),
        (3, 4, False),
        (7, 9, False),
    ]


def test_a_selection_grows_from_word_to_file() -> None:
    analysis, offset = edit_seed("[4, 4, 4, 4]", "[4, 4|, 4, 4]")
    texts = [span.text for span in outline.list_selections(analysis, offset)]
    assert texts[0] == "4"
    assert texts[1] == "[4, 4, 4, 4]"
    assert texts[2] == "layers = [4, 4, 4, 4]"
    assert texts[-2].startswith("plan wide")
    assert texts[-1] == SEED


def test_links_lead_to_imports_models_and_known_hardware(tmp_path: Path) -> None:
    (tmp_path / "farm.parc").write_text("")
    (tmp_path / "moe.py").write_text("")
    text = 'import "farm.parc"\nimport "gone.parc"\nimport "parc:h100"\nmodel moe { source = "moe.py:MoE" }\n'
    found = list(outline.list_links(open_text(text, tmp_path / "plan.parc")))
    assert [(span.text, path.name) for span, path in found] == [
        ("farm.parc", "farm.parc"),
        ("parc:h100", "h100.parc"),
        ("moe.py:MoE", "moe.py"),
    ]


# Colours


def test_words_have_the_colour_of_what_they_mean() -> None:
    analysis = open_text(
        '# c\nlet a = 4 GB\nplan p for t on c {\n  mesh = [ep: 8]\n  shard = none, s = "x"\n}\n'
    )
    found = [(analysis.source.text[each.start : each.end], each.type) for each in list_tokens(analysis)]
    assert found == [
        ("# c", "comment"),
        ("let", "keyword"),
        ("a", "variable"),
        ("4 GB", "number"),
        ("plan", "type"),
        ("p", "class"),
        ("for", "keyword"),
        ("t", "class"),
        ("on", "keyword"),
        ("c", "class"),
        ("mesh", "property"),
        ("ep", "enumMember"),
        ("8", "number"),
        ("shard", "property"),
        ("none", "enumMember"),
        ("s", "property"),
        ('"x"', "string"),
    ]


@pytest.mark.parametrize("name", ["seed.parc", "classic.parc", "quickstart.parc"])
def test_colours_of_a_stretch_are_those_of_the_whole(name: str) -> None:
    analysis = open_text((EXAMPLES / name).read_text())
    whole = list(list_tokens(analysis))
    assert all(one.end <= other.start for one, other in pairwise(whole))
    middle = analysis.source.line_starts[len(analysis.source.line_starts) // 2]
    some = list(list_tokens(analysis, middle, middle + 300))
    assert some == [each for each in whole if middle <= each.start < middle + 300]


def test_what_an_imported_file_defines_has_no_colour_here(tmp_path: Path) -> None:
    text = 'import "there.parc"\n' + SEED
    at = text.index("compute = ")  # the name stands there at the offset that the word has here
    (tmp_path / "there.parc").write_text("#" * (at - 5) + "\nlet many_steps = 3\n")
    found = next(each for each in list_tokens(open_text(text, tmp_path / "plan.parc")) if each.start == at)
    assert (text[found.start : found.end], found.declares) == ("compute", False)


# Layout


def test_a_text_is_laid_out() -> None:
    analysis = open_text(SEED.replace("  data     over [ep]", "     data over [ep]"))
    assert apply_edits(analysis.source.text, format_file(analysis)) == SEED
    assert format_file(open_text(SEED)) == []


def test_a_text_with_a_fault_of_syntax_stays_as_it_is() -> None:
    assert (
        format_file(open_text(SEED.replace("seed = 1,", "seed = = 1,").replace("  data  ", " data "))) == []
    )


def test_a_stretch_is_laid_out_around_a_fault_elsewhere() -> None:
    broken = SEED.replace("seed = 1,", "seed = = 1,")
    text = broken.replace("  data     over [ep]", "     data over [ep]")
    analysis = open_text(text)
    at = text.index("data over")
    assert apply_edits(text, format_range(analysis, at, at)) == broken
    at = text.index("seed = =")
    assert format_range(analysis, at, at) == []


def test_a_stretch_ends_before_the_statement_that_begins_at_its_end() -> None:
    text = "let a  =  1\nlet b  =  2\n"
    assert (
        apply_edits(text, format_range(open_text(text), 0, text.index("let b"))) == "let a = 1\nlet b  =  2\n"
    )


# Help


@pytest.mark.parametrize(
    ("text", "label", "active"),
    [
        ("train a {\n  batch { |", "batch { sequences, length, microbatches? }", None),
        ("train a {\n  batch { sequences = 4, length = |", "batch { sequences, length, microbatches? }", 1),
        ('train a {\n  dataset = tokens("a", type = |', "tokens(.., type?)", 1),
        ("plan a for b on c {\n  experts over [ep] { tensor = [|", "experts { tensor? }", 0),
    ],
)
def test_keys_of_what_is_being_written(text: str, label: str, active: int | None) -> None:
    found = find_signature(*type_text(text))
    assert found is not None
    assert (found.label, found.active) == (label, active)


def test_there_is_no_help_outside_of_blocks() -> None:
    assert find_signature(*type_text("|")) is None
