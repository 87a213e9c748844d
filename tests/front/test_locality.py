"""Groups that leave a node, told with bytes and the order of the axes that keeps them in. 4 nodes of 8."""

from __future__ import annotations

import pytest

from parc.check.claims.verdict import judge
from parc.check.detection import price
from parc.diagnostic import Severity
from tests.front.plans import complete, load
from tests.front.priced import DENSE, DEVICE, LINKS, NODE, NODES, apply_fix, check_text, list_codes

MESH = f"""{NODES}{DENSE}
train first {{
  model = moe
  batch {{ sequences = 32, length = 4096, microbatches = 4 }}
  precision {{ compute = bf16 }}
}}
plan wide for first on farm {{
  mesh = [AXES]
  data   over [dp]
  tensor over [tp]
}}"""


def test_tensor_groups_that_leave_a_node_are_reported_with_bytes_and_order() -> None:
    """`tp` outermost has stride 4: 8 ranks on 4 nodes. Around attention and FFN of 16 layers, there and back,
    and around the head, 4 microbatches of 2 x 4,096 tokens x 4,096 x 2 B are summed: 264 times 67 MB, of
    which a ring of 8 sends 2 x 7/8."""
    (found,) = check_text(MESH.replace("AXES", "tp: 8, dp: 4"))
    assert (found.code, found.severity) == ("P324", Severity.WARNING)
    assert found.message == "groups of `tensor` span several nodes, which another order of the axes avoids"
    told = 264 * 2 * 4096 * 4096 * 2 * 2 * 7 / 8 / 1e9
    assert f"each group of 8 ranks of `tensor` over `tp` touches 4 nodes: {told:.3g} GB" in found.notes[0]
    assert found.help == "`mesh = [dp: 4, tp: 8]`"


def test_the_fix_swaps_the_axes_and_is_clean() -> None:
    text = complete(MESH.replace("AXES", "tp: 8,  # not there\n  dp: 4")).replace("MEMORY", "80 GB")
    (found,) = load(text).diagnostics
    better = apply_fix(text, found)
    assert "mesh = [dp: 4,  # not there\n  tp: 8]" in better
    assert load(better).diagnostics == ()


def test_the_order_alone_is_reported_where_no_price_is_known() -> None:
    text = MESH.replace("AXES", "tp: 8, dp: 4").replace(DEVICE, "")
    (found,) = check_text(text)
    assert found.code == "P324"
    assert found.notes == (
        "each group of 8 ranks of `tensor` over `tp` touches 4 nodes",
        "with the other order groups of `data` span several nodes",
    )
    assert list_codes(text.replace("tp: 8, dp: 4", "dp: 4, tp: 8")) == []


def test_gradients_count_as_well() -> None:
    """Every data rank has all 8 experts of 16 layers: 3.3 GB of gradients, summed across nodes."""
    text = f"""{NODES}
    plan wide for first on farm {{
      mesh = [dp: 4, tp: 8]
      data   over [dp]
      tensor over [tp]
    }}"""
    found = next(each for each in check_text(text) if each.code == "P324")
    assert found.message == "groups of `data` span several nodes, which another order of the axes avoids"
    assert found.help == "`mesh = [tp: 8, dp: 4]`"


def test_what_the_other_order_lets_out_is_reported() -> None:
    """With `dp` innermost those of `tp` are 4 apart: on 4 nodes of 8. 16 of `dp` leave one in any order."""
    axes = "mesh = [dp: 4, tp: 8]\n  data   over [dp]\n  tensor over [tp]"
    found, *_ = check_text(f"{NODES}\nplan wide for first on farm {{\n  {axes}\n}}")
    assert (found.code, found.help) == ("P324", "`mesh = [tp: 8, dp: 4]`")
    assert found.notes[1] == "with the other order groups of `tensor` span several nodes"
    told = check_text(MESH.replace("AXES", "tp: 2, dp: 16"))
    (found,) = (each for each in told if each.code == "P324")
    assert not any(note.startswith("with the other order") for note in found.notes)


def test_two_nodes_are_one_too_many() -> None:
    text = MESH.replace("AXES", "tp: 2, dp: 8").replace(DEVICE, "").replace("fabric: 4", "fabric: 2")
    assert list_codes(text) == ["P324"]


def test_a_group_that_is_larger_than_a_node_leaves_it_in_every_order() -> None:
    text = MESH.replace("AXES", "dp: 2, tp: 16").replace(DEVICE, "")
    assert list_codes(text) == []


def test_on_one_node_no_order_is_better() -> None:
    text = MESH.replace("AXES", "tp: 8, dp: 4").replace("[fabric: 4, node: 8]", "[node: 32]")
    assert list_codes(text.replace(LINKS.strip().splitlines()[1], "")) == []


def test_gradients_are_summed_axis_after_axis() -> None:
    """Over 2 and then over 4 ranks takes what the two take by themselves: the bytes are the same."""

    def seconds(axes: str, over: str) -> float:
        text = f"{NODE.replace('node: 4', 'node: 8')}\nplan wide for first on farm {{\n mesh = [{axes}]\n"
        text += f" data over [{over}]\n expect {{ data.time > 0 s }}\n}}"
        (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
        (verdict,) = judge(price(plan))
        assert verdict.figure is not None
        return verdict.figure.value

    assert seconds("a: 2, b: 4", "a, b") == pytest.approx(seconds("a: 2", "a") + seconds("b: 4", "b"))
