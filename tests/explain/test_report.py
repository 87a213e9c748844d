"""What is told of a plan, against arithmetic by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from parc.check.claims.figures import derive_figure
from parc.check.claims.groups import OVER
from parc.check.detection import price
from parc.check.load import load_text
from parc.cost.job.job import StageShape
from parc.cost.memory import parameters
from parc.cost.network.link_levels import find_crossed_level, list_peer_shares
from parc.plan.mesh import Lattice
from parc.report.groups import format_ranks
from parc.report.overview import build_overview
from parc.report.rank import describe_rank
from parc.report.stages import count_flops, find_representative
from parc.source import Source
from tests.explain.plans import DEVICE, build_million, build_small, explain_text

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_groups_are_counted_and_placed() -> None:
    """rank = (ep * 2 + pp) * 2 + tp, nodes of four: ep crosses the fabric, pp and tp stay in a node."""
    overview = explain_text(build_small())
    told = [
        (each.strategy.title, each.strategy.axes, each.count, each.size, each.units, format_ranks(each.first))
        for each in overview.groups
    ]
    assert told == [
        ("data", ("ep",), 4, 2, (("node", 2),), "0, 4"),
        ("tensor", ("tp",), 4, 2, (("node", 1),), "0-1"),
        ("experts", ("ep",), 4, 2, (("node", 2),), "0, 4"),
        ("pipeline", ("pp",), 4, 2, (("node", 1),), "0, 2"),
    ]
    assert overview.plan.mesh.format_rank() == "(ep * 2 + pp) * 2 + tp"


@pytest.mark.parametrize(
    ("digits", "told"),
    [
        ((), "7"),
        (((4, 1),), "7-10"),
        (((2, 8), (4, 1)), "7-10, 15-18"),
        (((2, 4), (4, 1)), "7-14"),  # what follows on is one run
        (((4, 16),), "7, 23, 39, 55"),
        (((5, 16),), "7, 23, .., 71"),
        (((1000, 16), (4, 1)), "7-10, 23-26, .., 15991-15994"),
    ],
)
def test_ranks_are_told_as_runs(digits: tuple[tuple[int, int], ...], told: str) -> None:
    assert format_ranks(Lattice(7, digits)) == told


def test_what_a_stage_holds() -> None:
    """Attention 2 x 256 / 2, norms 2 x 16, routers 2 x 4 x 8, experts 2 x 2 x 384 = 1536; an embedding or a
    head 32 x 8 / 2 = 128, and the last stage's norm 8."""
    overview = explain_text(build_small())
    held = [each.parameters.value for each in overview.stages if each.parameters]
    assert held == [256 + 32 + 64 + 1536 + 128, 256 + 32 + 64 + 1536 + 128 + 8]
    assert [(each.layers, each.moe_layers, each.experts) for each in overview.stages] == [
        ((range(2),), 2, 2),
        ((range(2, 4),), 2, 2),
    ]


def test_shares_of_the_arithmetic_make_a_whole() -> None:
    """The head's 32 x 8 are the last stage's; the embedding is looked up, not multiplied."""
    overview = explain_text(build_small())
    assert overview.job is not None
    first, last = (count_flops(overview.job, stage) for stage in overview.job.stages)
    assert first + last == pytest.approx(parameters.count_flops(overview.job), rel=1e-12)  # sums of floats
    tokens = 160
    assert last - first == pytest.approx(3 * 2 * 32 * 8 * tokens, rel=1e-12)
    assert sum(each.share.value for each in overview.stages if each.share) == pytest.approx(1)


def test_dense_layers_come_first() -> None:
    overview = explain_text(build_small().replace("top_k = 2", "top_k = 2, dense_layers = 1"))
    assert [each.moe_layers for each in overview.stages] == [1, 2]
    assert overview.job is not None
    assert overview.job.stages[0] == StageShape(
        dense_layers=1, moe_layers=1, has_embedding=True, has_head=False
    )
    assert sum(count_flops(overview.job, each) for each in overview.job.stages) == pytest.approx(
        parameters.count_flops(overview.job)
    )


def test_bytes_over_each_link() -> None:
    """A microbatch has 4 sequences, 2 on a data rank: 20 tokens of 8 numbers of 4 bytes, 640 bytes.

    Each of 4 microbatches goes through 2 layers. Experts: 2 choices, 1,280 bytes there and back, forward and
    backward, and before them the counts of rows of 4 experts, half of all to the other node. Tensor: an
    all-reduce of words, and attention's, forward and backward, where each of 2 ranks gives 2 x 1/2 of 640
    bytes. The pipeline sends 640 bytes a microbatch.
    """
    first, last = explain_text(build_small()).traffic
    told = {(each.strategy.key, each.level): each.sent for each in first}
    assert told["experts", "fabric"].value == 4 * 2 * (4 * 1280 + 4 * 8) / 2
    assert told["tensor", "node"].value == 4 * (640 + 2 * 2 * 640)
    assert told["pipeline", "node"].value == 4 * 640
    shared = 256 + 32 + 64 + 128  # parameters that both data ranks hold
    assert told["data", "fabric"].value == 2 * 1 / 2 * shared * 4
    assert set(told) == {("experts", "fabric"), ("tensor", "node"), ("pipeline", "node"), ("data", "fabric")}
    assert {key: each.grade for (key, _), each in told.items()} == {
        "data": "estimated",  # which links a library's all-reduce takes is its own choice
        "tensor": "estimated",
        "experts": "expected",
        "pipeline": "exact",
    }
    head = {each.strategy.key: each.sent.value for each in last}
    assert head["tensor"] == 4 * (2 * 2 * 640 + 640 + 3 * 20 * 4)  # the head's, and three parts of each loss


def test_a_v_has_the_ends_of_the_model_on_its_first_rank_and_sends_down_and_up() -> None:
    """Two ranks: stages 0 and 3, 1 and 2. Rank 0 sends what stage 0 gives and gradients of what stage 3 gets,
    rank 1 what stage 2 gives and gradients of what stage 1 gets: as much, and nothing to itself."""
    text = build_small(DEVICE).replace("layers = [2, 2]", "chunks = 2").replace("gpipe", "zbv")
    overview = explain_text(text)
    assert [each.layers for each in overview.stages] == [(range(1), range(3, 4)), (range(1, 2), range(2, 3))]
    sends = [[each for each in stage if each.strategy.key == "pipeline"] for stage in overview.traffic]
    assert [dict(one.calls) for (one,) in sends] == [{"send": 8}, {"send": 8}]


def test_a_gather_over_two_levels_is_counted_level_by_level() -> None:
    """Eight data ranks, four on each of two nodes: 3/4 of the buffer inside a node, twice, then half of the
    quarter that is left, twice."""
    text = (
        build_small()
        .replace("mesh = [ep: 2, pp: 2, tp: 2]", "mesh = [ep: 8]")
        .replace("over [ep]\n  pipe", "over [ep]\n  # pipe")
    )
    text = (
        text.replace("experts = 4", "experts = 8")
        .replace("  tensor   over [tp]\n", "")
        .replace("length = 10", "length = 8")
    )
    text = text.replace("sequences = 16", "sequences = 32")
    (only,) = explain_text(text).traffic
    told = {(each.strategy.key, each.level): each.sent.value for each in only}
    shared = 4 * (256 + 16) + 4 * 8 * 8 + 2 * 256 + 8  # attention and norms, routers, tables, the last norm
    assert told["data", "node"] == 2 * 3 / 4 * shared * 4
    assert told["data", "fabric"] == 2 * 1 / 2 * shared * 4 / 4
    assert told["experts", "node"] / told["experts", "fabric"] == 3 / 4  # three peers near, four far


def test_sends_take_the_link_that_is_between_two_stages() -> None:
    """Eight stages on two nodes of four: stage 3 sends on over the fabric, and gradients back in its node."""
    text = (
        build_small()
        .replace("mesh = [ep: 2, pp: 2, tp: 2]", "mesh = [pp: 8]")
        .replace("layers = [2, 2]", f"layers = {[1] * 8}")
    )
    for strategy in ("data", "tensor", "experts"):
        text = "\n".join(line for line in text.splitlines() if not line.startswith(f"  {strategy} "))
    traffic = explain_text(text.replace("layers = 4", "layers = 8")).traffic
    microbatch = 4 * 10 * 8 * 4  # sequences x tokens x hidden x bytes
    told = [{each.level: each.sent.value / 4 / microbatch for each in stage} for stage in traffic]
    assert told[0] == {"node": 1}
    assert told[1] == told[2] == {"node": 2}
    assert told[3] == told[4] == {"node": 1, "fabric": 1}
    assert told[7] == {"node": 1}


def test_where_the_peers_of_an_all_to_all_are() -> None:
    """16 ranks, two on each of eight nodes: one peer inside, 14 outside, itself nowhere."""
    assert list(list_peer_shares((2, 8))) == [1 / 16, 14 / 16]
    assert list(list_peer_shares((1, 8))) == [0, 7 / 8]


def test_where_a_pipeline_leaves_a_node() -> None:
    """Eight stages, four on each of two nodes: from the fourth to the fifth, and from the last."""
    assert [find_crossed_level((4, 2), index) for index in range(8)] == [0, 0, 0, 1, 0, 0, 0, 1]
    assert find_crossed_level((4, 1), 3) == 0  # a ring that never leaves


@pytest.mark.parametrize(("schedule", "bubble"), [("gpipe", 1 / 5), ("1f1b", 1 / 5)])
def test_even_stages_wait_as_the_bubble_says(schedule: str, bubble: float) -> None:
    """(p - 1) / (m + p - 1) with 2 stages and 4 microbatches; without times, stages count as even."""
    overview = explain_text(build_small(schedule=schedule))
    assert overview.step is not None
    assert overview.step.time is None
    assert overview.step.timeline.waits.value == pytest.approx(bubble)
    assert overview.bubble is not None
    assert overview.bubble.value == pytest.approx(bubble)
    assert overview.step.timeline.end == 15  # five rounds of one unit forward and two backward


def test_the_step_is_what_its_timeline_shows() -> None:
    overview = explain_text(build_small(DEVICE))
    assert overview.step is not None
    assert overview.step.time is not None
    line = overview.step.timeline
    rest = overview.step.time.parts[-1].value
    last = max(line.ready + tail.update for tail in line.tails)
    assert last + rest == pytest.approx(overview.step.time.value, rel=1e-9)  # sums of the same floats
    assert line.seconds == overview.step.time.value
    assert len(line.events) == 2 * 2 * 4  # forward and backward, stages, microbatches
    assert max(event.end for event in line.events) == pytest.approx(line.end)
    assert overview.step.tokens is not None
    assert overview.step.tokens.value == pytest.approx(160 / overview.step.time.value)


def test_one_rank() -> None:
    """rank 5 of (ep * 2 + pp) * 2 + tp: ep 1, pp 0, tp 1; device 1 of node 1."""
    facts = describe_rank(explain_text(build_small()), 5)
    assert facts.coordinates == {"ep": 1, "pp": 0, "tp": 1}
    assert facts.place == (("node", 1), ("device", 1))
    assert facts.stage.index == 0
    assert facts.experts == range(2, 4)
    assert facts.sequences == range(2, 4)  # of the microbatch's four, the second half
    assert [(each.strategy.key, each.position, list(each.ranks)) for each in facts.axes] == [
        ("ep", 1, [1, 5]),
        ("pp", 0, [5, 7]),
        ("tp", 1, [4, 5]),
    ]
    with pytest.raises(IndexError):
        describe_rank(explain_text(build_small()), 8)


def test_what_is_missing_is_named_and_where_it_goes() -> None:
    (machine,) = explain_text(build_small()).missing
    assert machine.figures == "step time, MFU, tokens/s"
    assert "no device is described" in machine.reason
    assert machine.where == "in cluster pair, for example"
    assert machine.add == (
        "device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }",
        "link fabric { bandwidth = 50 GB/s, latency = 8 us }",
        "link node { bandwidth = 50 GB/s, latency = 8 us }",
    )
    shape, _ = explain_text(build_small().replace(", vocab = 32", "")).missing
    assert shape.reason == "the shape has no `vocab`"
    assert (shape.where, shape.add) == ("in model moe", ("shape { vocab = .. }",))
    assert explain_text(build_small(DEVICE)).missing == ()


def test_what_is_added_checks_clean_and_is_enough() -> None:
    """The words of the advice, put where it says."""
    (machine,) = explain_text(build_small()).missing
    assert explain_text(build_small("\n  ".join(machine.add))).missing == ()


def test_a_shape_that_says_little_still_has_groups_and_stages() -> None:
    overview = explain_text(build_small().replace(", vocab = 32", ""))
    assert overview.job is overview.step is overview.flops is None
    assert overview.traffic == ()
    assert [each.layers for each in overview.stages] == [(range(2),), (range(2, 4),)]
    assert all(each.memory is None for each in overview.stages)


def test_a_million_ranks_are_told_as_fast_as_eight() -> None:
    few, many = build_small(DEVICE), build_million(DEVICE)

    def seconds(text: str) -> float:
        start = time.process_time()
        overview = explain_text(text)
        describe_rank(overview, overview.plan.mesh.size - 1)
        return time.process_time() - start

    seconds(few)  # what is loaded and kept once
    assert explain_text(many).plan.mesh.size == 2**20
    # Both take milliseconds; a walk over 2^20 ranks takes a second.
    assert min(seconds(many) for _ in range(3)) < 0.1


@pytest.mark.parametrize("name", ["quickstart", "seed", "classic"])
def test_what_is_sent_is_one_number_in_claims_and_in_traffic(name: str) -> None:
    """And what `--rank` tells of buffers is that of claims: strategy by strategy, of the busiest device."""
    loaded = load_text(Source(f"{name}.parc", (EXAMPLES / f"{name}.parc").read_text()))
    for plan in loaded.plans:
        overview, known = build_overview(plan), price(plan)
        assert overview.job is not None
        for strategy, over in OVER.items():
            if not getattr(plan, strategy):
                continue
            by_rank = [[one for one in stage if one.strategy.key in over] for stage in overview.traffic]
            sent = max(sum(one.sent.value for one in some) for some in by_rank)
            assert derive_figure(known, f"{strategy}.sent").value == pytest.approx(sent)
            given = [
                sum(part.value for part in each.parts if part.name.rpartition(" over ")[2] in over)
                for index in range(overview.job.degrees.pipeline)
                if (each := describe_rank(overview, find_representative(plan, index)).buffers)
            ]
            assert derive_figure(known, f"{strategy}.buffers").value == pytest.approx(max(given))
