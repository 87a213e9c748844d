"""Hover texts of the word under the cursor."""

from __future__ import annotations

import re

import pytest

from parc.lsp.hover.hover import describe_word
from parc.lsp.language.schema_docs import find_page
from tests.lsp.editing import SEED, edit_seed, type_text


def hover(old: str, new: str) -> str:
    found = describe_word(*edit_seed(old, new))
    assert found is not None
    return found[0]


def test_an_axis_has_groups_nodes_and_strategies() -> None:
    """On [ep: 8, pp: 4, tp: 4], neighbours on ep are 16 ranks apart, a node: a group has a rank in each."""
    text = hover("mesh = [ep: 8", "mesh = [e|p: 8")
    assert "8 ranks, 16 apart" in text
    assert "16 groups: [0, 16, 32, 48, 64, 80, 96, 112]" in text
    assert "carries data, experts" in text
    assert "one group is within 8 nodes" in text
    assert "one group is within 1 node" in hover("tensor   over [tp]", "tensor   over [t|p]")


def test_a_quantity_is_shown_in_other_units_with_the_figures_that_it_changes() -> None:
    text = hover("memory = 64 GB,", "memory = 6|4 GB,")
    assert "= 64,000 MB" in text
    assert "59.6046 GiB" in text  # 64e9 / 2^30
    text = hover("bandwidth = 50 GB/s", "bandwidth = 50| GB/s")
    moved = re.search(r"`experts.time` by (-[0-9.]+)%", text)
    assert moved
    assert -1 <= float(moved[1]) < 0  # one percent more bandwidth saves at most a percent
    assert "memory.peak" not in text


def test_a_strategy_has_bytes_memory_and_time() -> None:
    text = hover("  experts  over [ep]", "  exp|erts  over [ep]")
    for figure in (
        "experts.ranks = 8 (exact)",
        "experts.sent = ",
        "experts.time = ",
        "memory.parameters = ",
    ):
        assert figure in text


def test_a_claim_has_its_verdict_and_derivation() -> None:
    text = hover("devices == 128", "devi|ces == 128")
    assert text.startswith("**holds**")
    assert "8 x 4 x 4" in text.replace("`", "") or "128" in text
    assert hover("devices == 128", "devi|ces == 64").startswith("**does not hold**")


def test_a_code_in_a_comment_has_its_page() -> None:
    analysis, offset = type_text("# see P2|08 and P203\n")
    found = describe_word(analysis, offset)
    assert found is not None
    assert found[0].startswith("# sequences-do-not-divide (P208, error)")
    assert found[1].text == "P208"
    assert describe_word(*type_text("# P9|99\n")) is None


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("microbatches = 32", "micro|batches = 32", "The default is `1`."),
        ("  batch     {", "  ba|tch     {", "**`batch`**"),
        ("train seed {", "tr|ain seed {", "Any two plans of one `train` compute the same numbers."),
        ("model     = moe", "model     = m|oe", "**model** `moe`"),
        ("plan wide for seed", "plan wide for se|ed", "**train** `seed`"),
        ("on farm {", "on fa|rm {", "cluster farm {"),
        ("link fabric {", "link fab|ric {", "**level** `fabric`"),
        ("schedule = 1f1b", "schedule = 1f|1b", "The order of forward and backward passes."),
        ("schedule = 1f1b", "schedule = gp|ipe", "](parc:/language.md#planpipeline)"),
        ("train seed {", "tr|ain seed {", "(parc:/language.md#train)"),
        ("decay = cosine", "decay = cos|ine", "Schedule of the learning rate after the warmup."),
    ],
)
def test_words_are_explained(old: str, new: str, wanted: str) -> None:
    assert wanted in hover(old, new)


def test_the_server_has_the_page_that_hovers_link_to() -> None:
    page = find_page("parc:/language.md#planpipeline")
    assert page
    assert "### plan.pipeline\n" in page


def test_a_constant_has_the_lines_that_use_it() -> None:
    analysis, offset = type_text("let ha|lf = 4\n" + SEED.replace("ep: 8", "ep: half * 2"))
    found = describe_word(analysis, offset)
    assert found is not None
    assert "used on line 34" in found[0]


@pytest.mark.parametrize(
    "text",
    [
        "|",
        "plan |",
        "plan wide for first on farm {\n  mesh = [ep: |",
        "let x = 4|",
        "} } |x {",
        '"abc|',
        "= |5 GB",
    ],
)
def test_half_typed_texts_do_no_harm(text: str) -> None:
    describe_word(*type_text(text))


NUMBER = re.compile(r"(?<![\w.\"])[0-9][0-9.]*(?:e-?[0-9]+)?")


def test_every_number_of_the_seed_says_what_it_is_and_what_it_decides() -> None:
    """36 of them were only echoed."""
    code = re.sub("#[^\\n]*", lambda comment: " " * len(comment[0]), SEED)
    found = {}
    for match in NUMBER.finditer(code):
        if code.startswith("1f1b", match.start()):
            continue
        described = describe_word(*type_text(f"{SEED[: match.start()]}|{SEED[match.start() :]}"))
        assert described, match
        found[match.start()] = described[0].split("\n\n")
    assert len(found) == 44
    for start, (title, *facts) in found.items():
        assert title.startswith("**"), SEED[start - 20 : start + 9]
        assert facts
        words = ("changes", "would be an error", "No figure", "holds", "exact")
        assert any(word in facts[-1] for word in words), facts


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("node: 16", "node: 1|6", "8 x 16 = 128 devices"),
        ("n_layers = 16", "n_layers = 1|6", "**argument** `n_layers` of the model's factory"),
        ("ffn = 2048\n", "ffn = 20|48\n", "2^11"),
        ("[4, 4, 4, 4]", "[4, 4, |4, 4]", "**stage** 2 of 4: layers 8 to 11"),
        ("microbatches = 32", "microbatches = |32", "256 sequences / 32 = 8 a microbatch"),
        ("steps = 1000", "steps = |1000", "262,144,000 tokens"),
        ("warmup = 100", "warmup = |100", "0.1 of the 1,000 steps"),
        ("seed = 1,", "seed = |1,", "No figure of memory or time depends on it."),
        ("memory = 64 GB", "memory = |64 GB", "`wide` takes"),
        ("layers = 16, hidden", "layers = |16, hidden", "Twice as many would be an error: P212"),
        ("mesh = [ep: 8", "mesh = [ep: |8", "**axis** `ep`: 8 ranks"),
    ],
)
def test_a_number_is_described_by_its_place(old: str, new: str, wanted: str) -> None:
    assert wanted in hover(old, new)
