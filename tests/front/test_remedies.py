"""What would make a false claim true, and what is priced at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from parc.check.claims.verdict import judge
from parc.check.detection import price
from tests.front.plans import load

EXAMPLES = Path(__file__).parents[2] / "examples"

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
                "with `schedule = interleaved, chunks = 2` it is 4.48%;"
                " with `schedule = interleaved, chunks = 4` it is 2.29%"
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
                " `schedule = interleaved, chunks = 4`, has 2.29%"
            ),
        ),
        ("devices == 64", "no layout that was tried makes it true; as planned it is 128"),
        ("mfu > 60%", "no layout that was tried makes it true; as planned it is 1.49%"),
    ],
)
def test_a_false_claim_is_reported_what_would_make_it_true(claim: str, help: str | None) -> None:
    found = next(each for each in load(FARM.replace("CLAIM", claim)).diagnostics if each.code == "P306")
    assert found.help == help


def test_a_model_of_dense_layers_has_no_width_of_experts_to_solve_for() -> None:
    text = FARM.replace("CLAIM", "parameters == 5e9").replace(
        "experts = 64", "dense_layers = 16, experts = 64"
    )
    text = text.replace("  experts  over [ep] { tensor = [tp] }\n", "")
    found = next(each for each in load(text).diagnostics if each.code == "P306")
    assert found.help is not None
    assert found.help.startswith("no layout that was tried makes it true")


def test_what_is_proposed_makes_the_claim_true() -> None:
    text = FARM.replace("CLAIM", "bubble <= 5%")
    text = text.replace("over [pp]", "over [pp] { schedule = interleaved, chunks = 2 }")
    (plan,) = load(text).plans
    assert [each.holds for each in judge(price(plan))] == [True]


def test_an_mfu_above_the_record_is_reported() -> None:
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
    assert [each.holds for each in judge(price(loaded.plans[0]))] == [True, True]


def test_a_plan_without_prices_does_not_import_the_cost_model() -> None:
    """It takes a tenth of a check's time. `figure.py`, for quantities in messages, needs none of it."""
    said = "import sys\nfrom parc.check.load import load\nfrom pathlib import Path\n"
    said += f"load(Path({str(EXAMPLES / 'quickstart.parc')!r}))\n"
    said += "print([name for name in sys.modules if name.startswith('parc.cost')])"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert run.stdout == "['parc.cost', 'parc.cost.figure']\n"
