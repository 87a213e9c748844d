"""Memory of training runs that others measured, against what `parc check` finds."""

from __future__ import annotations

from pathlib import Path

import pytest

from parc.check.detection import price
from parc.check.load import load
from parc.check.load import load_text as check
from parc.source import Source

GIB = 2**30
PLANS = Path(__file__).parents[1] / "plans"
SCALING = """
import "parc:b200"
let nodes = NODES
cluster farm { machine = b200, levels = [fabric: nodes, node: 8] }
model qwen3_30b {
  source = "m.py:M"
  shape {
    layers = 48, hidden = 2048, heads = 32, kv_heads = 4, head_dim = 128
    ffn = 768, gated = true, experts = 128, top_k = 8, vocab = 151936
  }
}
train run {
  model     = qwen3_30b
  batch     { sequences = 64 * nodes, length = 4096 }
  precision { compute = bf16, master = fp32 }
}
plan p for run on farm {
  mesh = [dp: nodes, ep: 8]
  data    over [dp, ep] { shard = parameters }
  experts over [ep]
}
"""


def predict_peak(text: str) -> float:
    (plan,) = check(Source("plan.parc", text)).plans
    return price(plan).memory[0].value


def test_sharded_parameters_over_twice_as_many_ranks() -> None:
    """github.com/NousResearch/torchtitan/pull/19: peaks of 167.93, 138.75, 124.58, 117.50 and 114.78 GiB.

    Each rank has the same tokens in all runs, so that only 16 bytes a parameter are divided further: 30.5
    billion of them over 8, 16, .. ranks. The peaks are those of torch's allocator with what it holds in
    reserve; 1 GiB is less than 1% of each. With 18 bytes the first difference would be 3 GiB too large.
    """
    measured = [167.93, 138.75, 124.58, 117.50, 114.78]
    predicted = [predict_peak(SCALING.replace("NODES", str(nodes))) / GIB for nodes in (1, 2, 4, 8, 16)]
    for number in range(4):
        drop = predicted[number] - predicted[number + 1]
        assert drop == pytest.approx(measured[number] - measured[number + 1], abs=1.0)
    assert predicted[0] - predicted[1] == pytest.approx(16 * 30.53e9 / 16 / GIB, rel=0.001)


def test_bf16_throughout_is_8_bytes_a_parameter() -> None:
    """30.53 billion x 8 B / 8 ranks, 48 inputs of layers, logits and their gradient in 4 + 2 bytes.

    The head and its gradient are there when the logits in 4 bytes are free again, and are smaller.
    """
    (plan,) = load(PLANS / "pass" / "training-in-bf16-throughout.parc").plans
    (peak,) = price(plan).memory
    assert peak.value == pytest.approx(48.8e9, rel=0.002)
    states, tokens = 30.53e9, 4 * 4096
    expected = states + 48 * tokens * 2048 * 2 + tokens * (151_936 * 6 + 2 * 2048 * 2)
    assert peak.value == pytest.approx(expected, rel=0.001)


def test_the_types_of_gradients_and_moments_are_stated_one_by_one() -> None:
    text = SCALING.replace("NODES", "1").replace("shard = parameters", "shard = none")
    parts = {}
    for more in ("", ", gradients = bf16", ", moments = bf16"):
        (plan,) = check(Source("plan.parc", text.replace("master = fp32", f"master = fp32{more}"))).plans
        parts[more] = {part.name: part.value for part in price(plan).memory[0].parts}
    held = parts[""]["parameters"] / 2
    assert parts[""]["gradients"] == 4 * held
    assert parts[", gradients = bf16"]["gradients"] == 2 * held
    assert parts[""]["optimizer"] == 12 * held
    assert parts[", moments = bf16"]["optimizer"] == (4 + 2 * 2) * held
