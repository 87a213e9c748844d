"""`expect`: what may be claimed, and how it is judged. Expected figures are worked out here, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.check.claims.verdict import Verdict, format_value, judge
from parc.check.costs import Unknown, call_cost_model
from parc.check.detection import price
from parc.check.pages import format_page
from parc.diagnostic import Severity
from parc.plan import subjects
from parc.plan.blocks import Plan
from tests.front.plans import SEED, list_findings, load

EXAMPLES = Path(__file__).parents[2] / "examples"
DOCS = Path(__file__).parents[2] / "docs"
ZBV = SEED.replace("1f1b, chunks = 1, layers = [4, 4, 4, 4]", "zbv, chunks = 2").replace(
    "recompute = layer", "recompute = none"
)


def plan(claims: str, text: str = SEED) -> Plan:
    loaded = load(text.replace("devices == 128", claims))
    assert len(loaded.plans) == 1, loaded.diagnostics
    return loaded.plans[0]


def verdict(claim: str, text: str = SEED) -> Verdict:
    (found,) = judge(price(plan(claim, text)))
    return found


def value(subject: str, text: str = SEED) -> float:
    """The derived figure, whatever is claimed of it."""
    dimension = subjects.find_subject(subject, ["fabric", "node"])
    assert dimension is not None
    unit = {(1, 0, 0): "B", (0, 1, 0): "s", (0, 0, 1): "FLOP"}.get(tuple(dimension.dimension), "")
    found = verdict(f"{subject} >= 0 {unit}", text).figure
    assert found is not None
    return found.value


# The seed: 128 ranks [ep 8, pp 4, tp 4] on 8 nodes of 16, 16 layers, hidden 1,024, 16 heads of 64, 64 gated
# experts of 2,048, top 2, 32,000 words; bf16 with fp32 masters; 256 sequences of 1,024 in 32 microbatches;
# optimizer state shared out over `ep`, tokens over `tp` between matmuls, whole layers computed again.

ATTENTION = 4 * 1024 * 1024
EXPERT = 3 * 1024 * 2048
NORMS = 2 * 1024
ROUTER = 64 * 1024
TABLE = 32_000 * 1024
STAGE = 4 * (ATTENTION / 4 + 64 * EXPERT / 32 + NORMS + ROUTER) + TABLE / 4  # the last one has a norm more
TOKENS = 256 * 1024
FORWARD = 2 * (16 * (ATTENTION + ROUTER + 2 * EXPERT) + TABLE) + 16 * 4 * 1024 * 1024  # of one token


@pytest.mark.parametrize(
    ("subject", "by_hand"),
    [
        ("devices", 8 * 4 * 4),
        ("parameters", 16 * (ATTENTION + 64 * EXPERT + NORMS + ROUTER) + 2 * TABLE + 1024),
        ("parameters.active", 16 * (ATTENTION + 2 * EXPERT + ROUTER) + TABLE),
        ("parameters.experts", 16 * 64 * EXPERT),
        ("parameters.device", STAGE + 1024),
        ("parameters.device.experts", 4 * 64 * EXPERT / 32),
        ("parameters.stage_0", STAGE),
        ("parameters.stage_1", STAGE - TABLE / 4),
        ("experts.local", 64 / 8),
        ("experts.active", 2 / 64),
        ("flops", 3 * TOKENS * FORWARD),
        ("flops.device", 3 * TOKENS * FORWARD / 128),
        ("bubble", 3 / 35),
        ("memory.stage_0.parameters", 2 * STAGE),
        ("memory.gradients", 4 * (STAGE + 1024)),
        # Experts lie on one data rank only, so their state is not shared out; that of all else over 8.
        ("memory.stage_0.optimizer", 12 * (4 * 64 * EXPERT / 32 + (STAGE - 4 * 64 * EXPERT / 32) / 8)),
        ("experts.ranks", 8),
        ("experts.groups", 16),
        ("experts.stride", 16),
        ("experts.nodes", 8),
        ("experts.fabrics", 1),
        ("tensor.nodes", 1),
        ("tensor.stride", 1),
        ("pipeline.ranks", 4),
        ("pipeline.groups", 32),
        ("pipeline.stride", 4),
        # Tokens of a microbatch: 256 / 32 / 8 = 1 sequence. A quarter of them passes on between stages.
        ("pipeline.call.buffer", 1024 / 4 * 1024 * 2),
        ("pipeline.buffers", 2 * 32 * 1024 / 4 * 1024 * 2),
        # Gathers and scatters around attention in 4 layers, forward, again, backward; and around the head.
        ("tensor.call.buffer", 1024 * 1024 * 2),
    ],
)
def test_figures_are_those_of_the_arithmetic(subject: str, by_hand: float) -> None:
    assert value(subject) == pytest.approx(by_hand, rel=1e-12)


def test_rates_are_of_one_step() -> None:
    step = value("step_time")
    assert value("sequences_per_second") == pytest.approx(256 / step)
    assert value("tokens_per_second") == pytest.approx(TOKENS / step)
    assert value("mfu") == pytest.approx(3 * TOKENS * FORWARD / 128 / step / 400e12)


@pytest.mark.parametrize(
    ("pipeline", "bubble"),
    [
        ("schedule = gpipe", 3 / 35),
        ("schedule = interleaved, chunks = 2", 3 / 67),
        ("schedule = 1f1b, chunks = 4", 3 / 131),
    ],
)
def test_the_bubble_of_schedules(pipeline: str, bubble: float) -> None:
    text = SEED.replace("schedule = 1f1b, chunks = 1, layers = [4, 4, 4, 4]", pipeline)
    assert value("bubble", text) == pytest.approx(bubble)


def test_every_subject_is_derived_and_is_on_the_page() -> None:
    said = format_page("P306")
    assert said is not None
    for name in subjects.list_subjects(["fabric", "node"]):
        assert value(name) >= 0
        strategy, _, key = name.partition(".")
        if name.startswith("memory.stage_0.") and key != "stage_0.peak":  # one stands for all
            key = key.removeprefix("stage_0.")
        if strategy in subjects.STRATEGIES and key not in ("local", "active"):
            name = f"experts.{'nodes' if key == 'fabrics' else key}"
        assert f"`{name}`" in said or f"`.{key}`" in said, f"{name} is not on the page of P306"


# Relations


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("bubble == 8.6%", True),  # 8.571% rounds to it
        ("bubble == 8.57%", True),
        ("bubble == 8.5%", False),
        ("bubble != 8.6%", False),
        ("bubble == 3 / 35", True),  # computed, so in full
        ("parameters == 6.6e9", True),  # 6.576e9
        ("parameters == 6.57e9", False),
        ("parameters == 6576178176", True),
        ("parameters == 6576178175", False),
        ("devices == 128", True),
        ("devices != 128", False),
        ("devices < 128", False),
        ("devices <= 128", True),
        ("devices > 127", True),
        ("devices >= 129", False),
        ("memory.stage_1.parameters <= 110 MB", True),  # 54.8 million x 2 B
        ("memory.stage_1.parameters <= 0.2%", True),  # of 64 GB: 128 MB
        ("memory.stage_1.parameters <= 0.1%", False),
    ],
)
def test_relations(claim: str, holds: bool) -> None:
    assert verdict(claim).holds is holds


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("total <= 4.5 GB", True),
        ("total < 4.5 GB", False),
        ("total == 4.5 GB", True),
        ("speed == 8 / 1 s", True),
        ("speed > 8 / 1 s", False),
    ],
)
def test_constants_can_be_claimed(claim: str, holds: bool) -> None:
    """4.5 is not what 1.1 + 2.2 + 1.2 gives in binary: rounding does not make a claim false."""
    text = f"let total = 1.1 GB + 2.2 GB + 1.2 GB\nlet speed = 4 / 500 ms\n{SEED}"
    assert verdict(claim, text).holds is holds


@pytest.mark.parametrize(
    ("claim", "code", "at"),
    [
        ("speed > 3", "P101", "speed"),
        ("experts.racks == 1", "P101", "experts.racks"),  # this cluster has none
        ("experts.LEVELs == 1", "P101", "experts.LEVELs"),
        ("memory.stage_K.peak <= 1 GB", "P101", "memory.stage_K.peak"),
        ("memory.stage_00.peak <= 1 GB", "P101", "memory.stage_00.peak"),
        ("memory.peak <= 3 ms", "P109", "3 ms"),
        ("step_time <= 3 GB", "P109", "3 GB"),
        ("step_time <= fast", "P106", "fast"),
        ("text <= 3", "P106", "text"),
        ("number <= 3 s", "P109", "3 s"),
    ],
)
def test_claims_that_mean_nothing(claim: str, code: str, at: str) -> None:
    text = f'let text = "a"\nlet number = 3\n{SEED}'.replace("devices == 128", claim)
    assert list_findings(text) == [(code, at)]


# What cannot be judged, and what is doubtful


@pytest.mark.parametrize(
    ("claim", "without", "reason"),
    [
        ("step_time < 1 s", "latency = 8 us", ""),  # a latency has a stand-in
        ("mfu > 1%", "compute = 400 TFLOPS, ", "the cluster `farm` does not say `device.compute`"),
        ("step_time < 1 s", "bandwidth = 50 GB/s,", "the cluster `farm` does not say `link fabric`"),
        ("memory.peak < 90%", "memory = 64 GB, ", "the cluster `farm` does not say `device.memory`"),
        ("memory.peak < 1 GB", "heads = 16, kv_heads = 16, ", "the shape of `moe` does not say `heads`"),
        ("experts.active < 50%", "top_k = 2, ", "the shape of `moe` does not say `top_k`"),
        ("memory.stage_4.peak < 1 GB", "", "the pipeline's last stage is stage 3"),
    ],
)
def test_a_claim_that_cannot_be_judged_says_what_is_missing(claim: str, without: str, reason: str) -> None:
    text = SEED.replace("experts = 64\n              top_k", "experts = 64, top_k")
    assert without in text
    found = verdict(claim, text.replace(without, ""))
    assert found.missing == reason
    assert (found.holds is None) is bool(reason)


@pytest.mark.parametrize(
    ("schedule", "bubble"),
    [
        ("zero_bubble", "3/99"),
        ("zbv, chunks = 2", "3/195"),
        ("dualpipev, chunks = 2", "6/198"),
        ("gpipe, chunks = 2", "3/67"),
        ("interleaved, chunks = 2", "3/67"),
    ],
)
@pytest.mark.parametrize("claim", ["step_time < 10 s", "memory.peak < 60 GB", "bubble < 5%"])
def test_every_schedule_is_played(schedule: str, bubble: str, claim: str) -> None:
    """Of 4 ranks and 32 microbatches of three units of time, or twice as many of a chunk: (p - 1) (F + B - W)
    of ZB-H1, p - 1 passes to fill a V, and DualPipeV's table (`tests/cost/test_split.py`)."""
    text = ZBV.replace("zbv, chunks = 2", schedule)
    found = verdict(claim, text)
    assert found.holds is True
    if claim.startswith("bubble"):
        assert found.figure is not None
        assert bubble in found.figure.how


@pytest.mark.parametrize(
    ("schedule", "microbatches", "bubble"),
    [("interleaved, chunks = 2", 2, 5 / 9), ("gpipe, chunks = 2", 1, 6 / 8), ("gpipe", 2, 3 / 5)],
)
def test_the_bubble_of_fewer_microbatches_than_ranks(schedule: str, microbatches: int, bubble: float) -> None:
    """4 ranks. Each chunk waits until the first microbatch has been everywhere: 2 x 4 + 2 - 1 and so on."""
    text = ZBV.replace("zbv, chunks = 2", schedule).replace(
        "microbatches = 32", f"microbatches = {microbatches}"
    )
    assert value("bubble", text) == pytest.approx(bubble)


@pytest.mark.parametrize(
    ("schedule", "count", "told"),
    [
        ("zbv, chunks = 2", 1, "1 microbatch through `zbv`"),
        ("gpipe", 1, "(4 - 1) / (1 microbatch + 4 - 1)"),
        ("gpipe, chunks = 2", 40_000, "(2 chunks x 40,000 microbatches + 4 - 1)"),
    ],
)
def test_one_microbatch_is_not_reported_as_many(schedule: str, count: int, told: str) -> None:
    text = ZBV.replace("zbv, chunks = 2", schedule)
    figure = verdict("bubble < 5%", text.replace("microbatches = 32", f"microbatches = {count}")).figure
    assert figure is not None
    assert told in figure.how


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        ("experts = 64", "experts = 65", "65 experts cannot be divided by 8 ranks of `ep` (P207)"),
        (
            "heads = 16, kv",
            "heads = 18, head_dim = 64, kv",
            "18 heads cannot be divided by 4 ranks of `tp` (P203)",
        ),
        ("ffn = 2048", "ffn = 2050", "2,050 ffn cannot be divided by 4 ranks of `tp` (P205)"),
        (
            "microbatches = 32",
            "microbatches = 2",
            "2 microbatches are too few for 4 stages under `1f1b` (P214)",
        ),
        ("experts  over [ep] {", "experts  over [pp] {", "(P304)"),
    ],
)
@pytest.mark.parametrize(
    "claim", ["step_time < 1 s", "parameters.device < 1", "experts.local == 1", "bubble < 1%"]
)
def test_nothing_is_derived_from_a_layout_that_cannot_be(
    claim: str, right: str, wrong: str, reason: str
) -> None:
    """No half experts, and so on: the fault itself is told, and figures would be of nothing."""
    assert right in SEED
    found = verdict(claim, SEED.replace(right, wrong))
    assert (found.holds, found.figure) == (None, None)
    assert found.missing.endswith(reason)


def test_a_batch_that_cannot_be_divided_is_priced_in_the_mean_and_nothing_is_advised() -> None:
    text = SEED.replace("sequences = 256", "sequences = 128").replace("64 GB", "1 GB")
    found = {each.code: each for each in load(text.replace("devices == 128", "mfu >= 90%")).diagnostics}
    assert set(found) == {"P208", "P306"}
    assert any(note.startswith("on average, because 128 sequences cannot be") for note in found["P306"].notes)


def test_numbers_beyond_all_measure_are_not_judged() -> None:
    """A head of no width, a division by what has become 0: no exception reaches the user."""
    found = verdict("step_time < 1 s", SEED.replace("hidden = 1024", "hidden = 1"))
    assert found.holds is None
    assert found.missing == "1 hidden cannot be divided by 16 heads (P222)"
    with pytest.raises(Unknown, match="beyond what the cost model can compute with"):
        call_cost_model(lambda: 1 // 0)


def test_an_estimate_that_is_near_says_so() -> None:
    """A predicted time on a machine that no constants were fitted to is 37% off in the mean."""
    step = value("step_time")
    for share, holds, code, severity in (
        (0.5, False, "P306", Severity.ERROR),
        (0.9, False, "P320", Severity.WARNING),
        (1.1, True, "P321", Severity.INFO),
    ):
        claim = f"step_time < {step * share * 1e3} ms"
        assert verdict(claim).holds is holds
        (found,) = load(SEED.replace("devices == 128", claim)).diagnostics
        assert (found.code, found.severity) == (code, severity)
        assert ("predictions like this one are off by 37% on average" in found.notes) is (code != "P306")
    assert load(SEED.replace("devices == 128", f"step_time < {2 * step} s")).diagnostics == ()


def test_a_peak_is_2_percent_off_in_the_mean() -> None:
    peak = value("memory.peak")
    assert verdict(f"memory.peak < {peak * 1.01} B").doubtful
    assert not verdict(f"memory.peak < {peak * 1.03} B").doubtful
    assert not verdict(f"memory.parameters < {value('memory.parameters') + 1} B").doubtful  # arithmetic


def test_neighbours_of_several_axes_are_those_of_the_innermost() -> None:
    text = SEED.replace("[ep: 8, pp: 4, tp: 4]", "[dp: 2, ep: 4, pp: 4, tp: 4]")
    text = text.replace("data     over [ep]", "data     over [dp, ep]")
    assert [value(f"data.{key}", text) for key in ("stride", "ranks", "groups")] == [16, 8, 16]


def test_a_false_claim_shows_the_arithmetic() -> None:
    (found,) = load(SEED.replace("devices == 128", "bubble < 5%")).diagnostics
    assert found.message == "`bubble` is 8.57%"
    assert [(label.span.text, label.text) for label in found.labels] == [
        ("bubble < 5%", "8.57% < 5% is false")
    ]
    assert found.notes == (
        "bubble 8.57% (exact): (4 - 1) / (32 microbatches + 4 - 1) = 3/35, if all stages take the same time",
    )


# The strategy paper's claims, one by one

PAPER = [
    ("devices == 128", True),
    ("experts.nodes == 2", False),
    ("experts.ranks == 16", False),
    ("experts.stride == 1", False),
    ("pipeline.ranks == 4", True),
    ("pipeline.stride == 1", False),
    ("experts.local == 2", False),
    ("experts.local == 8", True),
    ("experts.active == 25%", False),
    ("parameters == 30e9", False),
    ("parameters.device == 1.18e9", False),
    ("parts <= 15.73 GB", True),
    ("memory.peak == 15.73 GB", False),
    ("memory.parameters == 2.35 GB", False),
    ("memory.optimizer == 9.41 GB", False),
    ("memory.activations == 1.61 GB", False),
    ("memory.gradients == 2.35 GB", False),
    ("flops.device == 153.9 TFLOP", False),
    ("arithmetic == 5.0 ms", False),
    ("step_time <= 5.0 ms", False),
    ("tokens_rate >= 26.16e6 / 1 s", True),
    ("batch_rate >= 25_545 / 1 s", True),
    ("tokens_per_second >= 26.16e6", False),
    ("sequences_per_second >= 25_545", False),
    ("mfu >= 60%", False),
    ("bubble < 5%", False),
    ("tensor.call.buffer == 268 MB", False),
    ("tensor.call.time <= 186 us", True),
    ("all_reduce == 186 us", True),
    ("ring <= 187 us", False),
]
DERIVED = {
    "experts.nodes == 2": 8,
    "experts.ranks == 16": 8,
    "experts.stride == 1": 16,
    "pipeline.stride == 1": 4,
    "experts.active == 25%": 2 / 64,
    "parameters == 30e9": 6.58e9,
    "parts <= 15.73 GB": 15.72e9,
    "flops.device == 153.9 TFLOP": 2.06e12,
    "arithmetic == 5.0 ms": 641e-3,
    "tokens_rate >= 26.16e6 / 1 s": 26.2e6,
    "batch_rate >= 25_545 / 1 s": 25_600,
    "bubble < 5%": 0.0857,
    "all_reduce == 186 us": 186.4e-6,
    "ring <= 187 us": 1.5 * 186.4e-6,
}


def test_the_papers_claims_are_judged_as_the_audit_did() -> None:
    from parc import load as read

    (claimed,) = read(EXAMPLES / "seed-claims.parc").plans
    verdicts = {" ".join(each.claim.span.text.split()): each for each in judge(price(claimed))}
    assert [(claim, verdicts[claim].holds) for claim in verdicts] == PAPER
    for claim, expected in DERIVED.items():
        figure = verdicts[claim].figure
        assert figure is not None
        assert figure.value == pytest.approx(expected, rel=5e-3), claim  # the audit has three digits


def test_the_docs_have_the_same_verdicts() -> None:
    from parc import load as read

    (claimed,) = read(EXAMPLES / "seed-claims.parc").plans
    rows = [
        line.split(" | ")[1:] for line in (DOCS / "seed-claims.md").read_text().splitlines() if "`" in line
    ]
    table = [row for row in rows if len(row) == 3]
    assert len(table) == len(PAPER)
    for (claim, holds, derived), judged in zip(table, judge(price(claimed)), strict=True):
        assert claim == f"`{' '.join(judged.claim.span.text.split())}`"
        assert holds == ("yes" if judged.holds else "no")
        assert judged.figure is not None
        assert derived.rstrip("| ") in ("", format_value(judged.figure)), claim
        assert derived.rstrip("| ") or judged.error, "what is arithmetic is told"


def test_the_papers_batch_is_impossible() -> None:
    """128 sequences / (8 data ranks x 32 microbatches) is half a sequence."""
    from parc import load as read

    diagnostics = read(EXAMPLES / "seed-claims.parc").diagnostics
    assert {each.code for each in diagnostics} == {"P208", "P306"}
    assert len([each for each in diagnostics if each.code == "P306"]) == sum(not holds for _, holds in PAPER)
