"""Plans that the tests explain: one that can be reckoned by hand, and others made of it."""

from __future__ import annotations

from parc.check.load import load_text
from parc.plan.blocks import Plan
from parc.report.overview import Overview, build_overview
from parc.source import Source

# Two stages of two layers on two nodes of four; a layer's attention has 4 x 8 x 8 = 256 parameters, an expert
# 3 x 8 x 16 = 384.
SMALL = """
cluster pair {
  levels = [fabric: 2, node: 4]
  DEVICE
}
model moe {
  source = "moe.py:M"
  shape {
    layers = 4, hidden = 8, heads = 2, kv_heads = 2, ffn = 16, gated = true
    experts = 4, top_k = 2, vocab = 32
  }
}
train first {
  model = moe
  batch { sequences = 16, length = 10, microbatches = 4 }
}
plan small for first on pair {
  mesh = [ep: 2, pp: 2, tp: 2]
  data     over [ep]
  tensor   over [tp]
  # parc: allow P314 -- whole experts are easier to reckon
  experts  over [ep]
  pipeline over [pp] { schedule = SCHEDULE, layers = [2, 2] }
}
"""
DEVICE = """device { compute = 1 TFLOPS, memory = 1 MB, memory_bandwidth = 1 TB/s }
  link node   { bandwidth = 100 GB/s, latency = 1 us }
  link fabric { bandwidth = 10 GB/s, latency = 10 us }"""


def build_small(device: str = "", schedule: str = "gpipe") -> str:
    return SMALL.replace("DEVICE", device).replace("SCHEDULE", schedule)


def load_plan(text: str) -> Plan:
    loaded = load_text(Source("plan.parc", text))
    assert loaded.ok, loaded.diagnostics
    return loaded.plans[0]


def explain_text(text: str) -> Overview:
    return build_overview(load_plan(text))


def build_million(device: str = "") -> str:
    """2^20 ranks, on a cluster of three levels."""
    return (
        build_small(device and f"{device}\n  link rack {{ bandwidth = 50 GB/s }}")
        .replace("[fabric: 2, node: 4]", "[fabric: 256, rack: 512, node: 8]")
        .replace("mesh = [ep: 2,", "mesh = [dp: 131072, ep: 2,")
        .replace("over [ep]\n  tensor", "over [dp, ep]\n  tensor")
        .replace("sequences = 16", "sequences = 1048576")
    )
