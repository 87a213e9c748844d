"""Habits of real models: either they keep the promise, or they are refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.capture.capture import capture
from parc.check.load import Loaded, load_text
from parc.diagnostic import CompileError
from parc.source import Source
from parc.verify.sample.sample import compile_sample

from .plans import compile_program
from .sample_runs import find_worst

TENSOR = "mesh = [tp: 2]\ntensor over [tp] { sequence = true }"
DATA = "mesh = [dp: 2]\ndata over [dp]"
PROJECTIONS_WHOLE = """
mesh = [tp: 2]
tensor over [tp] { sequence = true, replicate = ["*_projection_of_tokens.*"] }
"""
PIPELINE = "mesh = [pp: 2]\npipeline over [pp]"
ALL = """
mesh = [ep: 2, pp: 2, tp: 2]
data over [ep]
tensor over [tp]
experts over [ep] { tensor = [tp] }
pipeline over [pp]
"""


def odd(layout: str, ranks: int, **flags: object) -> Loaded:
    """A plan of the odd model with some of its flags."""
    said = ", ".join(f"{name} = {str(value).lower()}" for name, value in flags.items())
    text = f"""
model odd {{
  source = "../models/odd.py:Odd"
  arguments {{ depth = 4, width = 16, heads = 4, inner = 12, count = 4, vocabulary = 32
    {said} }}
  shape {{ layers = 4, hidden = 16, heads = 4, ffn = 12, gated = true, experts = 4, top_k = 2, vocab = 32 }}
}}
train t {{
  model = odd, seed = 5, steps = 10
  batch {{ sequences = 8, length = 6, microbatches = 2 }}
  loss {{ balance = 0.1 }}
  optimizer = adamw {{ lr = 2e-3, clip = 0.5 }}
  precision {{ compute = fp64, master = fp64 }}
}}
cluster c {{ levels = [node: {ranks}] }}
plan p for t on c {{
{layout}
}}
"""
    return load_text(Source(str(Path(__file__).with_name("odd.parc")), text))


def use_of_bound(loaded: Loaded, folder: Path) -> float:
    assert loaded.ok, loaded.diagnostics
    (plan,) = loaded.plans
    return find_worst(compile_sample(plan), folder).used


@pytest.mark.parametrize(("layout", "ranks"), [(TENSOR, 2), (PIPELINE, 2), (ALL, 8)])
def test_packed_weights_masks_lists_and_depth_scaled_layers_keep_the_promise(
    layout: str, ranks: int, tmp_path: Path
) -> None:
    assert use_of_bound(odd(layout, ranks), tmp_path / "program") < 1


def test_a_tied_embedding_is_one_parameter_where_one_stage_holds_it(tmp_path: Path) -> None:
    assert use_of_bound(odd(TENSOR, 2, tied=True), tmp_path / "program") < 1


@pytest.mark.parametrize(
    ("flags", "layout", "ranks", "code", "said"),
    [
        ({"tied": True}, PIPELINE, 2, "P509", "`embed.weight` is used by stages 0 and 1"),
        (
            {"shared_layer": True},
            TENSOR,
            2,
            "P509",
            "`stack.0.attention.out.weight` is also `stack.3.attention.out.weight`",
        ),
        ({"frozen": True}, TENSOR, 2, "P509", "`head.weight` is frozen"),
        ({"unused": True}, TENSOR, 2, "P509", "`spare.weight` is never used"),
        ({"order": [0, 2, 1, 3]}, TENSOR, 2, "P509", "called as 0, 2, 1, 3"),
        ({"order": [0, 1, 2, 3, 3]}, PIPELINE, 2, "P509", "called as 0, 1, 2, 3, 3"),
        ({"no_grad": True}, TENSOR, 2, "P515", "torch.no_grad"),
        ({"dropout": 0.1}, PIPELINE, 2, "P505", "dropout"),
    ],
)
def test_what_is_not_supported_is_refused_in_words(
    flags: dict[str, object], layout: str, ranks: int, code: str, said: str
) -> None:
    (plan,) = odd(layout, ranks, **flags).plans
    with pytest.raises(CompileError) as refused:
        compile_program(plan, capture(plan))
    assert [diagnostic.code for diagnostic in refused.value.diagnostics] == [code]
    assert said in refused.value.diagnostics[0].message
    assert refused.value.diagnostics[0].labels
    assert refused.value.diagnostics[0].help


@pytest.mark.parametrize("layout", [DATA, PROJECTIONS_WHOLE])
def test_operators_that_are_seldom_written_keep_the_promise(layout: str, tmp_path: Path) -> None:
    assert use_of_bound(odd(layout, 2, seldom=True), tmp_path / "program") < 1
