"""Memory against what a device has. What is expected is worked out here, by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from parc.check.advice.alternatives import MEAN, Alternative, generate, shard_more
from parc.check.claims.verdict import judge
from parc.check.costs import Unknown
from parc.check.detection import price
from parc.diagnostic import Severity
from parc.plan.blocks import Plan
from tests.front.plans import complete, load
from tests.front.priced import DEVICE, NODE, apply_fix, check_text, list_codes, predict_peak

# Memory. The model of `plans.py`: 16 layers, hidden 1,024, 16 heads of 64 and 8 of keys, 8 gated experts of
# 2,048, 32,000 words; float32, so 4 + 4 + 8 bytes a parameter; 32 sequences of 1,024 in 4 microbatches.

LAYER = 2 * 1024 * 64 * (16 + 8) + 8 * 3 * 1024 * 2048 + 8 * 1024 + 2 * 1024
TABLE = 32_000 * 1024
PLAIN = f"{NODE}\nplan wide for first on farm {{\n  mesh = [dp: 4]\n  data over [dp]\n}}"
PIPES = f"{NODE}\nplan wide for first on farm {{\n  mesh = [pp: 4]\n  pipeline over [pp]\n}}"


def test_state_is_counted_in_bytes_a_parameter() -> None:
    (found,) = check_text(PLAIN, "16 GB")
    held = 16 * LAYER + 2 * TABLE + 1024
    assert (found.code, found.severity) == ("P322", Severity.ERROR)
    assert found.notes[0].endswith(f"(exact): {held:,} x 4 B")
    assert found.notes[1].endswith(f"(exact): {held:,} x 4 B")
    assert found.notes[2].endswith(f"(exact): {held:,} x 8 B")
    assert [label.span.text for label in found.labels] == ["[dp: 4]", "16 GB"]


def test_one_device_shares_the_model_with_none() -> None:
    (found,) = (
        each for each in check_text(PLAIN.replace("[dp: 4]", "[dp: 1]"), "5 GB") if each.code == "P322"
    )
    assert found.labels[0].text == "one device holds the whole model"


@pytest.mark.parametrize(
    ("share", "expected"),  # a peak is off by 2%: what it may be off by is no error
    [(1.03, ["P322"]), (1.01, ["P323"]), (0.95, ["P323"]), (0.91, [])],
)
def test_above_92_percent_is_near_and_above_all_is_too_much(share: float, expected: list[str]) -> None:
    assert list_codes(PLAIN, f"{predict_peak(PLAIN) / share:.0f} B") == expected


def test_what_a_data_rank_could_leave_to_the_others_is_proposed() -> None:
    """Of 8 bytes of state a parameter, three quarters go: 921 million x 6 B = 5.5 GB less."""
    text = complete(PLAIN).replace("MEMORY", "16 GB")
    (found,) = load(text).diagnostics
    assert found.help is not None
    assert found.help.startswith("`shard = optimizer` needs 12.8 GB")
    lean = apply_fix(text, found)
    assert "data over [dp] { shard = optimizer }" in lean
    assert load(lean).diagnostics == ()
    less = predict_peak(text) - predict_peak(lean)
    assert less == pytest.approx((16 * LAYER + 2 * TABLE + 1024) * 8 * 3 / 4)


def test_earlier_stages_have_more_microbatches_in_flight() -> None:
    """1f1b with 4 stages: 4, 3, 2, 1 of them. Each layer keeps the same, so that is the ratio."""
    (plan,) = load(complete(PIPES).replace("MEMORY", "80 GB")).plans
    kept = [{part.name: part.value for part in stage.parts}["activations"] for stage in price(plan).memory]
    assert kept == pytest.approx([4 * kept[3], 3 * kept[3], 2 * kept[3], kept[3]])
    found = next(each for each in check_text(PIPES, "8 GB") if each.code == "P322")
    assert found.message.startswith("a device of stage 0 needs")
    assert any(note.startswith("by stage: ") and note.count("GB") == 4 for note in found.notes)


def test_a_pipeline_of_one_rank_has_no_other_to_give_layers_to() -> None:
    text = PLAIN.replace("[dp: 4]", "[pp: 1, dp: 4]").replace("over [dp]", "over [dp]\n  pipeline over [pp]")
    assert "P322" in list_codes(text, "8 GB")
    assert "P322" in list_codes(text.replace("pp: 1, ", "").replace("over [pp]", "over []"), "8 GB")


def test_an_alternative_that_cannot_be_priced_is_left_out() -> None:
    def broken(plan: Plan) -> Iterator[Alternative]:
        yield from shard_more(plan)
        raise Unknown("beyond what is known")

    (plan,) = load(complete(PLAIN).replace("MEMORY", "80 GB")).plans
    assert [each.text for each in generate(broken, plan)] == [each.text for each in shard_more(plan)]


def test_a_schedule_that_begins_to_go_back_early_keeps_less() -> None:
    """gpipe keeps all 16 microbatches in every stage, 1f1b 4, 3, 2 and 1."""
    text = complete(PIPES.replace("over [pp]", "over [pp] { schedule = gpipe }")).replace(
        "microbatches = 4", "microbatches = 16"
    )
    text = text.replace("MEMORY", "10 GB")
    (found,) = load(text).diagnostics
    assert "microbatches in flight by stage: 16, 16, 16, 16" in found.notes
    assert found.help is not None
    assert found.help.startswith("`schedule = 1f1b` needs")
    assert load(apply_fix(text, found)).diagnostics == ()


ZERO = PIPES.replace("over [pp]", "over [pp] { schedule = zero_bubble }")


def test_with_too_many_passes_to_play_the_states_alone_may_be_too_much() -> None:
    """16 bytes of each parameter of the fullest of 256 ranks: a layer and a table; `recompute` is no cure."""
    held = LAYER + TABLE + 1024
    batch = "batch { sequences = 2048, length = 1024, microbatches = 2048 }"
    many = f"{ZERO}\ntrain first {{ model = moe, {batch} }}\n"
    many = complete(many).replace("layers = 16", "layers = 256").replace("pp: 4", "pp: 256")
    many = many.replace("node: 4", "node: 256")
    assert "P322" not in list_codes(many, f"{16 * held + 1} B")
    (found,) = (each for each in check_text(many, f"{8 * held} B") if each.code == "P322")
    assert found.message.startswith("a device of stage 255 needs at least ")
    assert found.message.endswith(": 200%")
    assert any("196,608 passes through a pipeline are more than" in note for note in found.notes)
    assert found.help is not None
    assert found.help.startswith("no layout that was tried fits")


def test_with_halves_of_backward_passes_later_stages_hold_as_much_as_the_first() -> None:
    """`1f1b` has 4, 3, 2 and 1 microbatches in flight."""
    (found,) = (each for each in check_text(ZERO, "8 GB") if each.code == "P322")
    assert "microbatches in flight by stage: 4, 4, 4, 4" in found.notes
    assert found.message.startswith("a device of stage 3 needs")


def test_states_are_claimed_without_a_simulation_and_a_v_has_both_ends_on_its_first_rank() -> None:
    """Rank 0 of `zbv`: chunks 0 and 7 of 8, 2 layers each, both tables; rank 3: chunks 3 and 4."""
    zbv = ZERO.replace("zero_bubble", "zbv, chunks = 2")
    first, last = 4 * LAYER + 2 * TABLE + 1024, 4 * LAYER
    claims = f"memory.stage_0.parameters == {4 * first} B, memory.stage_3.optimizer == {8 * last} B"
    text = zbv.replace("  mesh", f"  expect {{ {claims}, memory.gradients == {4 * first} B }}\n  mesh")
    (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
    assert [each.holds for each in judge(price(plan))] == [True, True, True]


def test_a_false_claim_about_a_split_backward_pass_tries_no_layout_that_excludes_it() -> None:
    """Recomputing is excluded, and nobody wrote it: the trial has no place in the text."""
    text = ZERO.replace("  mesh", "  expect { memory.parameters < 1 B }\n  mesh")
    (found,) = check_text(text)
    assert (found.code, found.help is not None) == ("P306", True)


BALANCED = """
train first {
  model = moe
  batch { sequences = 128, length = 1024, microbatches = 4 }
  loss { balance = 0.01 }
}"""


def cures(text: str) -> list[str]:
    (found,) = (each for each in check_text(text, "20.5 GB") if each.code == "P322")
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
    text = complete(PIPES.replace("over [pp]", "over [pp] { schedule = interleaved, chunks = 2 }"))
    text = text.replace("microbatches = 4", "microbatches = 8")
    known = price(load(text.replace("MEMORY", "80 GB")).plans[0])
    assert [known.count_in_flight(rank) for rank in range(4)] == [2 * (3 - rank) + 4 + 1 for rank in range(4)]
    found = next(each for each in load(text.replace("MEMORY", "8 GB")).diagnostics if each.code == "P322")
    assert found.message.startswith("a device of pipeline rank 0 needs")
    assert "passes of chunks in flight by pipeline rank: 11, 9, 7, 5" in found.notes


def test_a_layer_of_the_fullest_stage_may_go_to_the_emptiest() -> None:
    """The first stage has 4 microbatches of each layer in flight, the last 1 and the logits."""
    text = complete(PIPES)
    found = next(
        each for each in check_text(text, f"{predict_peak(text) * 0.98:.0f} B") if each.code == "P322"
    )
    assert "microbatches in flight by stage: 4, 3, 2, 1" in found.notes
    proposed = [each for each in (found.help or "", *found.notes) if each.startswith("`layers = ")]
    assert proposed
    assert proposed[0].startswith("`layers = [3, ")


def test_two_changes_are_proposed_where_one_is_not_enough() -> None:
    """Parameters and gradients alone are 7.4 GB; two changes leave 4.9 of all, with both tables whole."""
    found = next(
        each for each in check_text(PLAIN.replace("over [dp]", "over [dp] { shard = none }"), "5.5 GB")
    )
    assert found.code == "P322"
    assert found.help is not None
    assert found.help.startswith("`shard = parameters` and `")


def test_nothing_is_proposed_where_nothing_helps() -> None:
    found = next(each for each in check_text(PLAIN, "1 GB") if each.code == "P322")
    assert found.fix is None
    assert found.help == "no layout that was tried fits: use more devices or a smaller model"


def test_no_proposal_breaks_a_rule() -> None:
    """Sharded parameters under a schedule with split backward passes would be refused (P309)."""
    text = f"""{NODE}
    plan wide for first on farm {{
      mesh = [dp: 2, pp: 2]
      data     over [dp]
      pipeline over [pp] {{ schedule = 1f1b }}
    }}"""
    for each in check_text(text, "6 GB"):
        if each.fix:
            again = load(apply_fix(complete(text).replace("MEMORY", "6 GB"), each)).diagnostics
            assert not [one for one in again if one.severity is Severity.ERROR]


@pytest.mark.parametrize("memory", ["80 GB", "6 GB"])
def test_without_figures_of_the_device_nothing_is_reported(memory: str) -> None:
    for left_out in ("memory = MEMORY, ", DEVICE):
        assert list_codes(PLAIN.replace(left_out, ""), memory) == []


def test_states_that_a_part_of_the_ranks_share_can_be_shared_by_all() -> None:
    """2 of 4 ranks share the states of the optimizer: all of them would keep half of it each."""
    over = "over [outer, inner] { shard = optimizer, shard_over = [outer] }"
    text = PLAIN.replace("[dp: 4]", "[outer: 2, inner: 2]").replace("over [dp]", over)
    (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
    found = next(shard_more(plan))
    assert found.text == "shard_over = [outer, inner]"
    states = [{part.name: part.value for part in price(each).memory[0].parts} for each in (plan, found.plan)]
    assert states[0]["optimizer"] == 2 * states[1]["optimizer"]
    assert states[0]["gradients"] == states[1]["gradients"]
