"""What is offered where the cursor is; most of these texts do not parse."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.lsp.completion.complete import complete
from parc.lsp.completion.files import list_callables
from parc.lsp.completion.item import Item
from tests.lsp.editing import apply_fix, edit_seed, type_text


def list_labels(items: list[Item]) -> list[str]:
    return [item.label for item in sorted(items, key=lambda item: item.order)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("|", {"machine", "cluster", "model", "train", "plan", "launch", "import", "let"}),
        ("pl|", {"plan", "train"}),
        ("train first {\n  |\n}", {"model", "steps", "batch", "loss", "optimizer", "precision"}),
        ("train first {\n  batch { sequences = 8, | }\n}", {"length", "microbatches"}),
        ("train first {\n  batch { |", {"sequences", "length", "microbatches"}),
        ("train first {\n  precision { compute = |", {"fp32", "fp64", "bf16"}),
        ("train first {\n  optimizer = |", {"adamw"}),
        ("train first {\n  optimizer = adamw { |", {"lr", "beta1", "clip", "warmup"}),
        ("train first {\n  optimizer = adamw { decay = c|", {"constant", "cosine"}),
        ("train first {\n  dataset = |", {"files", "tokens"}),
        ("train first {\n  model = |\n}\nmodel moe {\n", {"moe"}),
        ("cluster farm {\n  levels = [fabric: 8, node: 16]\n  link |", {"fabric", "node"}),
        ("cluster farm {\n  device { memory = 64 |", {"GB", "GiB", "TB"}),
        ("cluster farm {\n  device { memory = 64 G|", {"GB"}),
        ("cluster farm {\n  link node { latency = 3 |", {"us", "ms"}),
        ("plan wide for |\ntrain first {\n}", {"first"}),
        ("plan wide for first on |\ncluster farm {\n}", {"farm"}),
        ("plan wide for first |", {"on"}),
        ("plan wide |", {"for"}),
        ("plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  data |", {"over"}),
        ("plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  data over [|", {"ep", "tp"}),
        ("plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  data over [ep, |", {"tp"}),
        ("plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  experts over [ep] { tensor = [|", {"tp"}),
        ("plan wide for first on farm {\n  pipeline over [pp] { schedule = |", {"1f1b", "zero_bubble"}),
        (
            "plan wide for first on farm {\n  data over [ep] { shard = |",
            {"none", "optimizer", "gradients", "parameters"},
        ),
        ("plan wide for first on farm {\n  expect { |", {"memory.peak", "step_time", "experts.nodes"}),
        ("plan wide for first on farm {\n  expect { step_time |", {"<=", "<"}),
        ("plan wide for first on farm {\n  expect { step_time <= 10 |", {"ms", "us"}),
        ("import |", {"parc:h100", "parc:gb200"}),
        ("let half = 4\ntrain first {\n  steps = |", {"half"}),
        ("cluster farm {\n  machine = |\n}\nmachine dgx {\n}", {"dgx"}),
    ],
)
def test_what_is_offered(text: str, wanted: set[str]) -> None:
    assert wanted <= set(list_labels(complete(*type_text(text))))


@pytest.mark.parametrize(
    ("text", "unwanted"),
    [
        ("# |", {"plan"}),
        ("train first {\n  batch { sequences = 8, | }\n}", {"sequences"}),
        ("train first {\n  |\n  model = moe\n}", {"adamw", "tokens", "mesh"}),
        ("train first {\n  model = moe, |\n}", {"model"}),
        ("plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  data over [ep, |", {"ep"}),
        ("cluster farm {\n  device { memory = 64 |", {"us", "GB/s", "TFLOPS"}),
    ],
)
def test_what_is_not(text: str, unwanted: set[str]) -> None:
    assert not unwanted & set(list_labels(complete(*type_text(text))))


def test_legal_sizes_come_first() -> None:
    """Of 128 devices, 8 x 4 are on other axes: 4 are left. 16 heads, 16 layers divide by it."""
    items = complete(*edit_seed("pp: 4, tp: 4]", "pp: 4, tp: |4]"))
    first = min(items, key=lambda item: item.order)
    assert (first.label, first.detail) == ("4", "fits")
    assert {item.label for item in items} == {"1", "2", "4"}


def test_microbatches_that_divide_come_first() -> None:
    """256 sequences over 8 data ranks are 32 each: 1, 2, 4 .. 32 divide them; a pipeline of 4 needs 4."""
    items = sorted(complete(*edit_seed("microbatches = 32", "microbatches = |")), key=lambda item: item.order)
    numbers = [item for item in items if item.label.isdigit()]
    assert [item.label for item in numbers] == ["4", "8", "16", "32", "1", "2"]
    assert numbers[0].detail == "fits"


def test_a_word_that_is_begun_is_replaced() -> None:
    analysis, offset = edit_seed("  expect", "  reco|\n  expect")
    item = next(item for item in complete(analysis, offset) if item.label == "recompute")
    span = analysis.source.make_span(item.start, item.end)
    assert "  recompute = \n  expect" in apply_fix(analysis, ((span, item.insert),))


def test_keys_and_blocks_are_documented() -> None:
    items = {item.label: item for item in complete(*type_text("train first {\n  batch { |"))}
    assert "The default is `1`." in items["microbatches"].doc
    assert "`batch` needs it." in items["sequences"].doc
    assert items["sequences"].order < items["microbatches"].order


def test_an_axis_has_its_ranks_as_detail() -> None:
    text = "plan wide for first on farm {\n  mesh = [ep: 8, tp: 4]\n  data over [|"
    assert {item.label: item.detail for item in complete(*type_text(text))} == {
        "ep": "8 ranks",
        "tp": "4 ranks",
    }


def test_what_is_outside_of_the_project_or_no_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/pyproject.toml").write_text("")
    (tmp_path / "secret.py").write_text("class Secret: ...\n")
    (tmp_path / "project/model.py").write_text("class Model: ...\n")
    (tmp_path / "project/endless.py").symlink_to("/dev/zero")
    found = {
        name: list_callables(tmp_path / "project", name)
        for name in ("model.py", "endless.py", "../secret.py")
    }
    assert found == {"model.py": ["Model"], "endless.py": [], "../secret.py": []}
