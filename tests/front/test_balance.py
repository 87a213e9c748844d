"""Stages that wait for one another. What is expected is worked out here, by hand."""

from __future__ import annotations

import pytest

from parc.check.advice.alternatives import MEAN
from parc.check.detection import price
from tests.front.plans import complete, load
from tests.front.priced import DENSE, NODE, apply_fix, check_text, list_codes, predict_peak

SPLIT = f"""{NODE}
train first {{
  model = moe
  batch {{ sequences = 32, length = 1024, microbatches = 32 }}
}}
plan wide for first on farm {{
  mesh = [pp: 4]
  pipeline over [pp] {{ layers = LAYERS }}
}}"""


def test_the_slowest_stage_sets_the_pace() -> None:
    """Stages of T, in layers: (m - 1) max T + sum T = 31 x 6 + 16 against 31 x 4 + 16. The head, less than a
    tenth of a stage here, is why 3% are allowed."""
    text = complete(SPLIT.replace("LAYERS", "[2, 2, 6, 6]")).replace("MEMORY", "80 GB")
    (found,) = load(text).diagnostics
    assert (found.code, found.help) == ("P326", "`layers = [4, 4, 4, 4]`")
    better = apply_fix(text, found)
    assert load(better).diagnostics == ()
    before, after = (price(load(each).plans[0]).step.seconds for each in (text, better))
    assert after / before == pytest.approx((31 * 4 + 16) / (31 * 6 + 16), rel=0.03)


def test_a_split_that_does_not_fit_is_not_proposed() -> None:
    """[2, 2, 6, 6] keeps 6 layers of one microbatch at most; [4, 4, 4, 4] has 4 layers of 4 in flight."""
    text = SPLIT.replace("LAYERS", "[2, 2, 6, 6]")
    crowded, even = predict_peak(text), predict_peak(SPLIT.replace("LAYERS", "[4, 4, 4, 4]"))
    assert "P326" in list_codes(text, f"{max(crowded, even) * 1.1:.0f} B")
    long = text.replace("length = 1024", "length = 8192")
    crowded, even = (
        predict_peak(long),
        predict_peak(SPLIT.replace("LAYERS", "[4, 4, 4, 4]").replace("1024", "8192")),
    )
    assert crowded < even
    assert "P326" not in list_codes(long, f"{(crowded + even) / 2:.0f} B")
    assert "P326" in list_codes(long, f"{even * 1.1:.0f} B")


@pytest.mark.parametrize(("layers", "expected"), [("[4, 4, 4, 4]", []), ("[5, 4, 4, 3]", ["P326"])])
def test_one_layer_too_many_is_reported(layers: str, expected: list[str]) -> None:
    """31 x 5 + 16 against 31 x 4 + 16: a fifth."""
    assert list_codes(SPLIT.replace("LAYERS", layers)) == expected


def test_the_output_matmul_is_counted() -> None:
    """FLOPs of a token: 2 x 1,024 x 32,000 = 66 M in the head; in a layer 2 x (3.1 M of attention + 2 experts
    of 6.3 M) and 4 x 4,096 x 1,024 of scores, 48 M. Its logits are written and read in 512 kB a token
    besides: in time the head is worth two layers. Of the first three stages, the later ones keep less for a
    layer more: they have fewer microbatches in flight."""
    text = SPLIT.replace("LAYERS", "[4, 4, 4, 4]").replace("length = 1024", "length = 4096")
    text = text.replace("sequences = 32", "sequences = 256").replace(
        "model = moe", "model = moe\n  precision { compute = bf16 }"
    )
    found = next(each for each in check_text(text) if each.code == "P326")
    assert found.message == "stage 3 takes longest, and the others wait for it"
    assert found.help == "`layers = [4, 5, 5, 2]`"


WAIT = f"""{NODE}{DENSE}
train first {{
  model = moe
  batch {{ sequences = 72, length = 4096, microbatches = COUNT }}
  precision {{ compute = bf16 }}
}}
plan wide for first on farm {{
  mesh = [pp: 4]
  pipeline over [pp] {{ layers = [4, 4, 4, 4] }}
  recompute = layer
}}"""


@pytest.mark.parametrize(("count", "share"), [(6, 3 / 9), (8, 3 / 11), (9, None), (12, None)])
def test_a_bubble_of_more_than_a_quarter_is_reported(count: int, share: float | None) -> None:
    found = [each for each in check_text(WAIT.replace("COUNT", str(count))) if each.code == "P327"]
    assert [each.message for each in found] == (
        [f"devices wait {share:.0%} of the pipeline's time"] if share else []
    )


def test_more_microbatches_are_the_cure_or_else_more_chunks() -> None:
    """72 sequences can be 24 or 72 microbatches; 8 sequences are 8 of them already."""
    found = [each for each in check_text(WAIT.replace("COUNT", "8")) if each.code == "P327"]
    assert found[0].help == "`microbatches = 72`"
    assert "(4 - 1) / (8 microbatches + 4 - 1) = 3/11" in found[0].notes[0]
    assert "(4 - 1) / (72 microbatches + 4 - 1) = 3/75" in found[0].notes[2]
    whole = WAIT.replace("COUNT", "8").replace("sequences = 72", "sequences = 8")
    found = [each for each in check_text(whole) if each.code == "P327"]
    assert found[0].help == "`schedule = interleaved, chunks = 4`"


def test_where_the_loss_depends_on_microbatches_chunks_come_first() -> None:
    """Of a model with experts; where chunks are no cure, more microbatches are, and it is said."""
    text = f"""{NODE.replace("node: 4", "node: 8")}
train first {{
  model = moe
  batch {{ sequences = 64, length = 4096, microbatches = 4 }}
  loss {{ balance = 0.01 }}
  precision {{ compute = bf16 }}
}}
plan wide for first on farm {{
  mesh = [dp: 2, pp: 4]
  data     over [dp]
  experts  over [dp]
  pipeline over [pp]
}}"""
    (found,) = (each for each in check_text(text) if each.code == "P327")
    assert found.help is not None
    assert found.help.startswith("`schedule = interleaved, chunks = ")
    (found,) = (each for each in check_text(text.replace("0.01", "0")) if each.code == "P327")
    assert found.help == "`microbatches = 8`"
    whole = text.replace("over [pp]", "over [pp] { schedule = gpipe }")
    (found,) = (each for each in check_text(whole) if each.code == "P327")
    assert found.help == f"`microbatches = 8`; {MEAN}"


def test_without_a_cure_there_is_no_warning() -> None:
    """17 layers cannot be interleaved."""
    whole = WAIT.replace("COUNT", "8").replace("sequences = 72", "sequences = 8")
    odd = whole.replace("layers = 16", "layers = 17").replace("[4, 4, 4, 4]", "[5, 4, 4, 4]")
    assert "P327" not in list_codes(odd)
