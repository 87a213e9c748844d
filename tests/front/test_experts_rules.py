"""Experts that ranks of a tensor axis compute alike."""

from __future__ import annotations

import pytest

from parc.check.detection import price
from parc.cost.explain import count_devices
from parc.cost.work.stage import derive_experts
from parc.diagnostic import Severity
from tests.front.plans import complete, list_findings, load
from tests.front.priced import apply_fix

# 16 layers of 8 experts of 3 x 1,024 x 2,048, two a token; 32 sequences of 1,024.
PLAN = """cluster farm {{
  levels = [node: 8]
  device {{ compute = 989 TFLOPS, memory = 80 GB, memory_bandwidth = 3.35 TB/s }}
  link node {{ bandwidth = 450 GB/s, latency = 3 us }}
}}
plan wide for first on farm {{
  mesh = [ep: 2, tp: 4]
  data    over [ep]
  tensor  over [tp]{tensor}
  {experts}
}}"""
ONCE = 32 * 1024 * 2 * 16 * 6 * 3 * 1024 * 2048


def plan(experts: str = "experts over [ep]", tensor: str = "") -> str:
    return complete(PLAN.format(experts=experts, tensor=tensor))


def computed(text: str) -> float:
    """FLOPs of experts in a step on all devices, by the matmuls that the cost model has a rank do."""
    job = price(load(text).plans[0]).job
    _, *matmuls = derive_experts(job).matmuls  # after the router's
    return 3 * sum(each.flops for each in matmuls) * 16 * job.parallelism.microbatches * count_devices(job)


def test_the_flops_repeated_are_those_that_the_ranks_do_too_much() -> None:
    (found,) = load(plan()).diagnostics
    assert (found.code, found.severity) == ("P314", Severity.WARNING)
    assert found.message == "4 ranks along `tp` compute the same experts on the same tokens"
    work, repeated = found.notes
    assert work.endswith("32,768 tokens x 2 of top_k x 16 layers x 6 FLOP x 3 x 1,024 x 2,048 = 39.6 TFLOP")
    assert repeated == "repeated: (4 - 1) x 39.6 TFLOP = 119 TFLOP"
    assert computed(plan()) == pytest.approx(4 * ONCE)  # of floats, in another order


@pytest.mark.parametrize(
    ("experts", "tensor"),
    [
        ("experts over [ep] { tensor = [tp] }", ""),
        ("experts over [tp]", ""),
        ("experts over [ep]", " { sequence = true }"),
    ],
)
def test_what_is_proposed_computes_them_once(experts: str, tensor: str) -> None:
    text = plan(experts, tensor)
    assert load(text).diagnostics == ()
    assert computed(text) == pytest.approx(ONCE)


def test_the_fix_splits_each_expert_if_its_width_divides() -> None:
    (found,) = load(plan()).diagnostics
    assert apply_fix(plan(), found) == plan("experts over [ep] { tensor = [tp] }")
    odd = plan().replace("ffn = 2048", "ffn = 2046")
    (found,) = load(odd).diagnostics
    assert load(apply_fix(odd, found)).diagnostics == ()
    assert found.help == "`sequence = true` of `tensor` gives each rank its own tokens"
    odd = odd.replace("length = 1024", "length = 1023")
    (found,) = load(odd).diagnostics
    assert (found.help, found.fix) == (None, None)


def test_without_a_word_of_experts_all_of_them_are_on_every_rank() -> None:
    (found,) = load(plan("")).diagnostics
    assert found.code == "P314"
    better = apply_fix(plan(""), found)
    assert "  experts over [tp]\n  tensor  over [tp]" in better
    assert load(better).diagnostics == ()


@pytest.mark.parametrize("shape", ["experts = 0", "experts = 8, dense_layers = 16", "vocab = 32000"])
def test_a_model_without_experts_repeats_none(shape: str) -> None:
    text = plan("").replace("experts = 8, top_k = 2, vocab = 32000", shape)
    assert "P314" not in [code for code, _ in list_findings(text)]


def test_recomputed_experts_are_computed_once_more() -> None:
    (found,) = load(plan("experts over [ep]\n  recompute = layer")).diagnostics
    assert "x 8 FLOP x" in found.notes[0]
    (found,) = load(plan("experts over [ep]\n  recompute = attention")).diagnostics
    assert "x 6 FLOP x" in found.notes[0]
