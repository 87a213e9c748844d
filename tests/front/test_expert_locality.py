"""Experts that leave a node in every order of the axes, and the layouts that keep them in."""

from __future__ import annotations

import pytest

from parc.check.claims.verdict import judge
from parc.check.detection import price
from parc.diagnostic import Severity
from tests.front.plans import load
from tests.front.priced import LINKS, apply_fix, list_codes

# 8 nodes of 8; 16 layers of 64 experts of 3 x 4,096 x 1,536, six a token.
PLAN = f"""cluster farm {{
  levels = [fabric: 8, node: 8]
  device {{ compute = 989 TFLOPS, memory = MEMORY, memory_bandwidth = 3.35 TB/s }}
  {LINKS}
}}
model moe {{
  source = "moe.py:MoE"
  shape {{
    layers = 16, hidden = 4096, heads = 32, ffn = 1536, gated = true
    experts = 64, top_k = 6, vocab = 32000
  }}
}}
train first {{
  model = moe
  batch {{ sequences = 256, length = 4096, microbatches = 4 }}
  precision {{ compute = bf16 }}
}}
plan wide for first on farm {{
  mesh = [ep: 64]
  data    over [ep] {{ shard = optimizer }}
  experts over [ep]
  recompute = layer
  expect {{ experts.nodes >= 1 }}
}}"""
TENSORS = PLAN.replace("[ep: 64]", "[ep: 8, tp: 8]").replace(
    "  experts over", "  tensor  over [tp] { sequence = true }\n  experts over"
)


def nodes(text: str) -> float:
    """That a group of experts touches."""
    figure = judge(price(load(text).plans[0]))[0].figure
    assert figure is not None
    return figure.value


def seconds(text: str) -> float:
    return price(load(text).plans[0]).step.seconds


@pytest.mark.parametrize(
    ("text", "help", "written"),
    [
        (
            PLAN,
            "`mesh = [dp: 8, ep: 8]` and `data over [dp, ep]`",
            "data    over [dp, ep] { shard = optimizer }",
        ),
        (TENSORS, "`experts over [tp]`", "experts over [tp]"),
    ],
)
def test_a_layout_that_keeps_the_experts_in_is_reported_and_is_clean(
    text: str, help: str, written: str
) -> None:
    text = text.replace("MEMORY", "80 GB")
    (found,) = load(text).diagnostics
    assert (found.code, found.severity, found.help) == ("P324", Severity.WARNING, help)
    assert found.message.startswith("groups of `experts` span several nodes in every order of the axes")
    better = apply_fix(text, found)
    assert written in better
    assert load(better).diagnostics == ()
    assert (nodes(text), nodes(better)) == (8, 1)
    assert seconds(better) < 0.95 * seconds(text)


def test_a_layout_that_does_not_fit_is_not_reported() -> None:
    """64 experts of 18.9 M parameters in 16 layers, 8 of them on each device: 2.4 G parameters, of which each
    takes 2 + 4 bytes and an eighth of 12. With one of them on each it is an eighth of that."""
    held = 16 * 8 * 3 * 4096 * 1536 * (2 + 4 + 12 / 8)
    assert held > 18e9
    assert "P324" not in list_codes(PLAN, "18 GB")
    assert "P324" in list_codes(PLAN, "80 GB")


def test_a_new_axis_has_a_name_of_its_own() -> None:
    text = PLAN.replace("MEMORY", "80 GB").replace("[ep: 64]", "[dp: 1, ep: 64]")
    (found,) = (each for each in load(text).diagnostics if each.code == "P324")
    assert found.help == "`mesh = [dp: 1, replica: 8, ep: 8]` and `data over [replica, ep]`"


def test_a_comment_in_the_mesh_is_left_to_the_hand() -> None:
    text = PLAN.replace("MEMORY", "80 GB").replace("[ep: 64]", "[ep: 64  # all\n  ]")
    (found,) = load(text).diagnostics
    assert found.help is not None
    assert found.fix is None


def test_where_experts_are_within_a_node_nothing_is_reported() -> None:
    assert list_codes(PLAN.replace("fabric: 8, node: 8", "fabric: 1, node: 64")) == []
