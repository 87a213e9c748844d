"""Rules that ask what a plan costs. What is expected is worked out here, by hand."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from parc.check.alternatives import MEAN, Alternative, fewer, sharding
from parc.check.claims.verdict import judge
from parc.check.costs import Costs, Unknown
from parc.diagnostic import Diagnostic, Severity
from parc.plan.facts import Plan
from tests.front.plans import complete, load

EXAMPLES = Path(__file__).parents[2] / "examples"
DEVICE = "device { compute = 989 TFLOPS, memory = MEMORY, memory_bandwidth = 3.35 TB/s }"
LINKS = """
  link node   { bandwidth = 450 GB/s, latency = 3 us }
  link fabric { bandwidth = 50 GB/s, latency = 8 us }
"""
NODE = f"cluster farm {{\n levels = [node: 4]\n {DEVICE}\n {LINKS.strip().splitlines()[0]}\n}}"
NODES = f"cluster farm {{\n levels = [fabric: 4, node: 8]\n {DEVICE}\n {LINKS}\n}}"
DENSE = """
model moe {
  source = "moe.py:Dense"
  shape { layers = 16, hidden = 4096, heads = 32, ffn = 16384, vocab = 32000 }
}
"""


def checked(text: str, memory: str = "80 GB") -> tuple[Diagnostic, ...]:
    return load(complete(text).replace("MEMORY", memory)).diagnostics


def codes(text: str, memory: str = "80 GB") -> list[str]:
    return [each.code for each in checked(text, memory)]


def mended(text: str, found: Diagnostic) -> str:
    """The text with the fix of a finding in it."""
    assert found.fix is not None
    for span, new in sorted(found.fix.edits, reverse=True, key=lambda edit: edit[0].start):
        text = text[: span.start] + new + text[span.end :]
    return text


# Memory. The model of `plans.py`: 16 layers, hidden 1,024, 16 heads of 64 and 8 of keys, 8 gated experts of
# 2,048, 32,000 words; float32, so 4 + 4 + 8 bytes a parameter; 32 sequences of 1,024 in 4 microbatches.

LAYER = 2 * 1024 * 64 * (16 + 8) + 8 * 3 * 1024 * 2048 + 8 * 1024 + 2 * 1024
TABLE = 32_000 * 1024
PLAIN = f"{NODE}\nplan wide for first on farm {{\n  mesh = [dp: 4]\n  data over [dp]\n}}"
PIPES = f"{NODE}\nplan wide for first on farm {{\n  mesh = [pp: 4]\n  pipeline over [pp]\n}}"


def test_state_is_counted_in_bytes_a_parameter() -> None:
    (found,) = checked(PLAIN, "16 GB")
    held = 16 * LAYER + 2 * TABLE + 1024
    assert (found.code, found.severity) == ("P322", Severity.ERROR)
    assert found.notes[0].endswith(f"(exact): {held:,} x 4 B")
    assert found.notes[1].endswith(f"(exact): {held:,} x 4 B")
    assert found.notes[2].endswith(f"(exact): {held:,} x 8 B")
    assert [label.span.text for label in found.labels] == ["[dp: 4]", "16 GB"]


def peak(text: str) -> float:
    (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
    return max(stage.value for stage in Costs(plan).memory)


@pytest.mark.parametrize(("share", "expected"), [(1.01, ["P322"]), (0.95, ["P323"]), (0.91, [])])
def test_above_92_percent_is_near_and_above_all_is_too_much(share: float, expected: list[str]) -> None:
    assert codes(PLAIN, f"{peak(PLAIN) / share:.0f} B") == expected


def test_what_a_data_rank_could_leave_to_the_others_is_proposed() -> None:
    """Of 8 bytes of state a parameter, three quarters go: 921 million x 6 B = 5.5 GB less."""
    text = complete(PLAIN).replace("MEMORY", "16 GB")
    (found,) = load(text).diagnostics
    assert found.help is not None
    assert found.help.startswith("`shard = optimizer` needs 12.8 GB")
    lean = mended(text, found)
    assert "data over [dp] { shard = optimizer }" in lean
    assert load(lean).diagnostics == ()
    less = peak(text) - peak(lean)
    assert less == pytest.approx((16 * LAYER + 2 * TABLE + 1024) * 8 * 3 / 4)


def test_earlier_stages_have_more_microbatches_in_flight() -> None:
    """1f1b with 4 stages: 4, 3, 2, 1 of them. Each layer keeps the same, so that is the ratio."""
    (plan,) = load(complete(PIPES).replace("MEMORY", "80 GB")).plans
    kept = [{part.name: part.value for part in stage.parts}["activations"] for stage in Costs(plan).memory]
    assert kept == pytest.approx([4 * kept[3], 3 * kept[3], 2 * kept[3], kept[3]])
    found = next(each for each in checked(PIPES, "8 GB") if each.code == "P322")
    assert found.message.startswith("a device of stage 0 would need")
    assert any(note.startswith("by stage: ") and note.count("GB") == 4 for note in found.notes)


def test_a_pipeline_of_one_rank_has_no_other_to_give_layers_to() -> None:
    text = PLAIN.replace("[dp: 4]", "[pp: 1, dp: 4]").replace("over [dp]", "over [dp]\n  pipeline over [pp]")
    assert "P322" in codes(text, "8 GB")
    assert "P322" in codes(text.replace("pp: 1, ", "").replace("over [pp]", "over []"), "8 GB")


def test_an_alternative_that_cannot_be_priced_is_left_out() -> None:
    def broken(plan: Plan) -> Iterator[Alternative]:
        yield from sharding(plan)
        raise Unknown("beyond what is known")

    (plan,) = load(complete(PLAIN).replace("MEMORY", "80 GB")).plans
    assert [each.text for each in fewer(broken, plan)] == [each.text for each in sharding(plan)]


def test_a_schedule_that_begins_to_go_back_early_keeps_less() -> None:
    """gpipe keeps all 16 microbatches in every stage, 1f1b 4, 3, 2 and 1."""
    text = complete(PIPES.replace("over [pp]", 'over [pp] { schedule = "gpipe" }')).replace(
        "microbatches = 4", "microbatches = 16"
    )
    text = text.replace("MEMORY", "10 GB")
    (found,) = load(text).diagnostics
    assert "microbatches in flight by stage: 16, 16, 16, 16" in found.notes
    assert found.help is not None
    assert found.help.startswith('`schedule = "1f1b"` needs')
    assert load(mended(text, found)).diagnostics == ()


ZERO = PIPES.replace("over [pp]", 'over [pp] { schedule = "zero_bubble" }')


def test_without_a_simulation_the_states_alone_may_be_too_much() -> None:
    """16 bytes of each parameter of the fullest of 4 ranks: 4 layers and a table; `recompute` is no cure."""
    held = 4 * LAYER + TABLE + 1024
    assert "P322" not in codes(ZERO, f"{16 * held + 1} B")
    (found,) = (each for each in checked(ZERO, f"{8 * held} B") if each.code == "P322")
    assert found.message.startswith("a device of stage 3 would need at least ")
    assert found.message.endswith(": 200%")
    assert any("no simulation of the schedule 'zero_bubble'" in note for note in found.notes)
    assert found.help is not None
    assert found.help.startswith("none of the layouts that were tried fits")


def test_states_are_claimed_without_a_simulation_and_a_v_has_both_ends_on_its_first_rank() -> None:
    """Rank 0 of `zbv`: chunks 0 and 7 of 8, 2 layers each, both tables; rank 3: chunks 3 and 4."""
    zbv = ZERO.replace('"zero_bubble"', '"zbv", chunks = 2')
    first, last = 4 * LAYER + 2 * TABLE + 1024, 4 * LAYER
    claims = f"memory.stage_0.parameters == {4 * first} B, memory.stage_3.optimizer == {8 * last} B"
    text = zbv.replace("  mesh", f"  expect {{ {claims}, memory.gradients == {4 * first} B }}\n  mesh")
    (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
    assert [each.holds for each in judge(plan)] == [True, True, True]


def test_a_false_claim_about_a_split_backward_pass_tries_no_layout_that_excludes_it() -> None:
    """Recomputing is excluded, and nobody wrote it: the trial has no place in the text."""
    text = ZERO.replace("  mesh", "  expect { memory.parameters < 1 B }\n  mesh")
    (found,) = checked(text)
    assert (found.code, found.help is not None) == ("P306", True)


BALANCED = """
train first {
  model = moe
  batch { sequences = 128, length = 1024, microbatches = 4 }
  loss { balance = 0.01 }
}"""


def cures(text: str) -> list[str]:
    (found,) = (each for each in checked(text, "20 GB") if each.code == "P322")
    return [found.help or "", *(note for note in found.notes if note.startswith("`"))]


def test_where_the_loss_depends_on_microbatches_their_number_is_the_last_cure() -> None:
    free = cures(f"{PLAIN}{BALANCED.replace('0.01', '0')}")
    assert [cure.split("`")[1] for cure in free] == [
        "recompute = layer",
        "microbatches = 16",
        "microbatches = 32",
    ]
    assert not any(MEAN in cure for cure in free)
    balanced = cures(f"{PLAIN}{BALANCED}")
    assert [cure.split("`")[1] for cure in balanced] == [
        "recompute = layer",
        "shard = parameters",
        "microbatches = 16",
    ]
    assert [MEAN in cure for cure in balanced] == [False, False, True]


def test_interleaved_ranks_have_several_passes_in_flight() -> None:
    """Rank r of p with v chunks: 2 (p - r - 1) + (v - 1) p + 1 (Narayanan et al., arXiv:2104.04473)."""
    text = complete(PIPES.replace("over [pp]", 'over [pp] { schedule = "interleaved", chunks = 2 }'))
    text = text.replace("microbatches = 4", "microbatches = 8")
    known = Costs(load(text.replace("MEMORY", "80 GB")).plans[0])
    assert [known.in_flight(rank) for rank in range(4)] == [2 * (3 - rank) + 4 + 1 for rank in range(4)]
    found = next(each for each in load(text.replace("MEMORY", "8 GB")).diagnostics if each.code == "P322")
    assert found.message.startswith("a device of pipeline rank 0 would need")
    assert "passes of chunks in flight by pipeline rank: 11, 9, 7, 5" in found.notes


def test_a_layer_of_the_fullest_stage_may_go_to_the_emptiest() -> None:
    """The first stage has 4 microbatches of each layer in flight, the last 1 and the logits."""
    text = complete(PIPES)
    found = next(each for each in checked(text, f"{peak(text) * 0.98:.0f} B") if each.code == "P322")
    assert "microbatches in flight by stage: 4, 3, 2, 1" in found.notes
    proposed = [each for each in (found.help or "", *found.notes) if each.startswith("`layers = ")]
    assert proposed
    assert proposed[0].startswith("`layers = [3, ")


def test_two_changes_are_proposed_where_one_is_not_enough() -> None:
    """Parameters and gradients alone are 7.4 GB; two changes bring the rest below 2."""
    found = next(each for each in checked(PLAIN.replace("over [dp]", "over [dp] { shard = none }"), "5 GB"))
    assert found.code == "P322"
    assert found.help is not None
    assert found.help.startswith("`shard = parameters` and `")


def test_nothing_is_proposed_where_nothing_helps() -> None:
    found = next(each for each in checked(PLAIN, "1 GB") if each.code == "P322")
    assert found.fix is None
    assert found.help == "none of the layouts that were tried fits: more devices, or a smaller model"


def test_no_proposal_breaks_a_rule() -> None:
    """Sharded parameters under a schedule with split backward passes would be refused (P309)."""
    text = f"""{NODE}
    plan wide for first on farm {{
      mesh = [dp: 2, pp: 2]
      data     over [dp]
      pipeline over [pp] {{ schedule = "1f1b" }}
    }}"""
    for each in checked(text, "6 GB"):
        if each.fix:
            again = load(mended(complete(text).replace("MEMORY", "6 GB"), each)).diagnostics
            assert not [one for one in again if one.severity is Severity.ERROR]


@pytest.mark.parametrize("memory", ["80 GB", "6 GB"])
def test_without_figures_of_the_device_nothing_is_told(memory: str) -> None:
    for left_out in ("memory = MEMORY, ", DEVICE):
        assert codes(PLAIN.replace(left_out, ""), memory) == []


# Locality. 4 nodes of 8.

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


def test_tensor_groups_that_leave_a_node_are_told_with_bytes_and_order() -> None:
    """`tp` outermost has stride 4: 8 ranks on 4 nodes. Around attention and FFN of 16 layers, there and back,
    and around the head, 4 microbatches of 2 x 4,096 tokens x 4,096 x 2 B are summed: 264 times 67 MB."""
    (found,) = checked(MESH.replace("AXES", "tp: 8, dp: 4"))
    assert (found.code, found.severity) == ("P324", Severity.WARNING)
    assert found.message == "groups of `tensor` leave a node, which another order of the axes avoids"
    told = 264 * 2 * 4096 * 4096 * 2 / 1e9
    assert f"each group of 8 ranks of `tensor` over `tp` touches 4 nodes: {told:.1f} GB" in found.notes[0]
    assert found.help == "`mesh = [dp: 4, tp: 8]`"


def test_the_fix_swaps_the_axes_and_is_clean() -> None:
    text = complete(MESH.replace("AXES", "tp: 8,  # not there\n  dp: 4")).replace("MEMORY", "80 GB")
    (found,) = load(text).diagnostics
    better = mended(text, found)
    assert "mesh = [dp: 4,  # not there\n  tp: 8]" in better
    assert load(better).diagnostics == ()


def test_the_order_alone_is_told_where_no_price_is_known() -> None:
    text = MESH.replace("AXES", "tp: 8, dp: 4").replace(DEVICE, "")
    (found,) = checked(text)
    assert found.code == "P324"
    assert found.notes == ("each group of 8 ranks of `tensor` over `tp` touches 4 nodes",)
    assert codes(text.replace("tp: 8, dp: 4", "dp: 4, tp: 8")) == []


def test_gradients_count_as_well() -> None:
    """Every data rank has all 8 experts of 16 layers: 3.3 GB of gradients, summed across nodes."""
    text = f"""{NODES}
    plan wide for first on farm {{
      mesh = [dp: 4, tp: 8]
      data   over [dp]
      tensor over [tp]
    }}"""
    found = next(each for each in checked(text) if each.code == "P324")
    assert found.message == "groups of `data` leave a node, which another order of the axes avoids"
    assert found.help == "`mesh = [tp: 8, dp: 4]`"


def test_two_nodes_are_one_too_many() -> None:
    text = MESH.replace("AXES", "tp: 2, dp: 8").replace(DEVICE, "").replace("fabric: 4", "fabric: 2")
    assert codes(text) == ["P324"]


def test_a_group_that_is_larger_than_a_node_leaves_it_in_every_order() -> None:
    text = MESH.replace("AXES", "dp: 2, tp: 16").replace(DEVICE, "")
    assert codes(text) == []


def test_on_one_node_no_order_is_better() -> None:
    text = MESH.replace("AXES", "tp: 8, dp: 4").replace("[fabric: 4, node: 8]", "[node: 32]")
    assert codes(text.replace(LINKS.strip().splitlines()[1], "")) == []


def test_gradients_are_summed_axis_after_axis() -> None:
    """Over 2 and then over 4 ranks takes what the two take by themselves: the bytes are the same."""

    def seconds(axes: str, over: str) -> float:
        text = f"{NODE.replace('node: 4', 'node: 8')}\nplan wide for first on farm {{\n mesh = [{axes}]\n"
        text += f" data over [{over}]\n expect {{ data.time > 0 s }}\n}}"
        (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
        (verdict,) = judge(plan)
        assert verdict.figure is not None
        return verdict.figure.value

    assert seconds("a: 2, b: 4", "a, b") == pytest.approx(seconds("a: 2", "a") + seconds("b: 4", "b"))


# Balance and the bubble

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
    better = mended(text, found)
    assert load(better).diagnostics == ()
    before, after = (Costs(load(each).plans[0]).step.seconds for each in (text, better))
    assert after / before == pytest.approx((31 * 4 + 16) / (31 * 6 + 16), rel=0.03)


def test_a_split_that_does_not_fit_is_not_proposed() -> None:
    """[2, 2, 6, 6] keeps 6 layers of one microbatch at most; [4, 4, 4, 4] has 4 layers of 4 in flight."""
    text = SPLIT.replace("LAYERS", "[2, 2, 6, 6]")
    crowded, even = peak(text), peak(SPLIT.replace("LAYERS", "[4, 4, 4, 4]"))
    assert "P326" in codes(text, f"{max(crowded, even) * 1.1:.0f} B")
    long = text.replace("length = 1024", "length = 8192")
    crowded, even = peak(long), peak(SPLIT.replace("LAYERS", "[4, 4, 4, 4]").replace("1024", "8192"))
    assert crowded < even
    assert "P326" not in codes(long, f"{(crowded + even) / 2:.0f} B")
    assert "P326" in codes(long, f"{even * 1.1:.0f} B")


@pytest.mark.parametrize(("layers", "expected"), [("[4, 4, 4, 4]", []), ("[5, 4, 4, 3]", ["P326"])])
def test_one_layer_too_many_is_told(layers: str, expected: list[str]) -> None:
    """31 x 5 + 16 against 31 x 4 + 16: a fifth."""
    assert codes(SPLIT.replace("LAYERS", layers)) == expected


def test_the_output_matmul_is_counted() -> None:
    """FLOPs of a token: 2 x 1,024 x 32,000 = 66 M in the head; in a layer 2 x (3.1 M of attention + 2 experts
    of 6.3 M) and 4 x 4,096 x 1,024 of scores, 48 M. Its logits are written and read in 512 kB a token
    besides: in time the head is worth two layers. Of the first three stages, the later ones keep less for a
    layer more: they have fewer microbatches in flight."""
    text = SPLIT.replace("LAYERS", "[4, 4, 4, 4]").replace("length = 1024", "length = 4096")
    text = text.replace("sequences = 32", "sequences = 256").replace(
        "model = moe", "model = moe\n  precision { compute = bf16 }"
    )
    found = next(each for each in checked(text) if each.code == "P326")
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
def test_a_bubble_of_more_than_a_quarter_is_told(count: int, share: float | None) -> None:
    found = [each for each in checked(WAIT.replace("COUNT", str(count))) if each.code == "P327"]
    assert [each.message for each in found] == (
        [f"devices wait {share:.0%} of the pipeline's time"] if share else []
    )


def test_more_microbatches_are_the_cure_or_else_more_chunks() -> None:
    """72 sequences can be 24 or 72 microbatches; 8 sequences are 8 of them already."""
    found = [each for each in checked(WAIT.replace("COUNT", "8")) if each.code == "P327"]
    assert found[0].help == "`microbatches = 72`"
    assert "(4 - 1) / (8 microbatches + 4 - 1) = 3/11" in found[0].notes[0]
    assert "(4 - 1) / (72 microbatches + 4 - 1) = 3/75" in found[0].notes[1]
    whole = WAIT.replace("COUNT", "8").replace("sequences = 72", "sequences = 8")
    found = [each for each in checked(whole) if each.code == "P327"]
    assert found[0].help == '`schedule = "interleaved", chunks = 4`'


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
    (found,) = (each for each in checked(text) if each.code == "P327")
    assert found.help is not None
    assert found.help.startswith('`schedule = "interleaved", chunks = ')
    (found,) = (each for each in checked(text.replace("0.01", "0")) if each.code == "P327")
    assert found.help == "`microbatches = 8`"
    whole = text.replace("over [pp]", 'over [pp] { schedule = "gpipe" }')
    (found,) = (each for each in checked(whole) if each.code == "P327")
    assert found.help == f"`microbatches = 8`; {MEAN}"


def test_without_a_cure_there_is_no_warning() -> None:
    """17 layers cannot be interleaved."""
    whole = WAIT.replace("COUNT", "8").replace("sequences = 72", "sequences = 8")
    odd = whole.replace("layers = 16", "layers = 17").replace("[4, 4, 4, 4]", "[5, 4, 4, 4]")
    assert "P327" not in codes(odd)


# What would make a claim true

FARM = """
cluster farm {
  levels = [fabric: 8, node: 16]
  device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
  link node   { bandwidth = 900 GB/s, latency = 3 us }
  link fabric { bandwidth = 50 GB/s, latency = 8 us }
}
model moe {
  source = "moe.py:M"
  shape {
    layers = 16, hidden = 1024, heads = 16, ffn = 2048, gated = true, experts = 64, top_k = 2, vocab = 32000
  }
}
train first {
  model = moe
  batch { sequences = 256, length = 1024, microbatches = 32 }
  precision { compute = bf16 }
}
plan wide for first on farm {
  mesh = [ep: 8, pp: 4, tp: 4]
  data     over [ep]
  tensor   over [tp]
  experts  over [ep] { tensor = [tp] }
  pipeline over [pp]
  expect { CLAIM }
}
"""


@pytest.mark.parametrize(
    ("claim", "help"),
    [
        # 3 / (2 x 32 + 3) and 3 / (4 x 32 + 3)
        (
            "bubble <= 5%",
            (
                'with `schedule = "interleaved", chunks = 2` it is 4.48%;'
                ' with `schedule = "interleaved", chunks = 4` it is 2.29%'
            ),
        ),
        # ep of stride 4 spans 32 ranks: 2 nodes of 16
        (
            "experts.nodes == 2",
            "with `mesh = [pp: 4, ep: 8, tp: 4]` it is 2; with `mesh = [tp: 4, ep: 8, pp: 4]` it is 2",
        ),
        ("experts.active == 25%", "with `top_k = 16` it would hold: 16 of 64"),
        ("experts.local == 2", "with experts over 32 ranks it would hold"),
        # (30e9 - all else) / (16 x 64 experts) / (3 x 1,024)
        ("parameters == 30e9", "an `ffn` of 9,494 would do: 29,166,282 parameters an expert"),
        (
            "bubble <= 1%",
            (
                "no layout that was tried makes it true; the nearest,"
                ' `schedule = "interleaved", chunks = 4`, has 2.29%'
            ),
        ),
        ("devices == 64", "no layout that was tried makes it true; as planned it is 128"),
        ("mfu > 60%", "no layout that was tried makes it true; as planned it is 1.49%"),
    ],
)
def test_a_false_claim_is_told_what_would_make_it_true(claim: str, help: str | None) -> None:
    found = next(each for each in load(FARM.replace("CLAIM", claim)).diagnostics if each.code == "P306")
    assert found.help == help


def test_what_is_proposed_makes_the_claim_true() -> None:
    text = FARM.replace("CLAIM", "bubble <= 5%")
    text = text.replace("over [pp]", 'over [pp] { schedule = "interleaved", chunks = 2 }')
    (plan,) = load(text).plans
    assert [each.holds for each in judge(plan)] == [True]


def test_an_mfu_above_the_record_is_told_so() -> None:
    for claim, told in (("mfu > 55%", True), ("mfu > 50%", False)):
        found = next(each for each in load(FARM.replace("CLAIM", claim)).diagnostics if each.code == "P306")
        assert any("best published" in note for note in found.notes) is told


def test_a_million_devices_are_priced_as_those_of_one_pod() -> None:
    text = FARM.replace("fabric: 8", "fabric: 65536").replace("ep: 8", "dp: 8192, ep: 8")
    text = text.replace("over [ep]\n  tensor", "over [dp, ep]\n  tensor")
    text = text.replace("sequences = 256", "sequences = 2097152").replace(
        "CLAIM", "memory.peak <= 90%, bubble < 10%"
    )
    loaded = load(text)
    assert loaded.plans[0].mesh.size == 2**20
    assert [each.holds for each in judge(loaded.plans[0])] == [True, True]


def test_a_plan_without_prices_does_not_import_the_cost_model() -> None:
    """It takes a tenth of a check's time."""
    said = "import sys\nfrom parc.check.load import load\nfrom pathlib import Path\n"
    said += f"load(Path({str(EXAMPLES / 'quickstart.parc')!r}))\n"
    said += "print([name for name in sys.modules if name.startswith('parc.cost')])"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
