"""Clusters with figures, for plans that are priced, and what is told of them."""

from __future__ import annotations

from parc.check.detection import price
from parc.diagnostic import Diagnostic
from tests.front.plans import complete, load

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


def check_text(text: str, memory: str = "80 GB") -> tuple[Diagnostic, ...]:
    return load(complete(text).replace("MEMORY", memory)).diagnostics


def list_codes(text: str, memory: str = "80 GB") -> list[str]:
    return [each.code for each in check_text(text, memory)]


def apply_fix(text: str, found: Diagnostic) -> str:
    """The text with the fix of a finding in it."""
    assert found.fix is not None
    for span, new in sorted(found.fix.edits, reverse=True, key=lambda edit: edit[0].start):
        text = text[: span.start] + new + text[span.end :]
    return text


def predict_peak(text: str) -> float:
    (plan,) = load(complete(text).replace("MEMORY", "80 GB")).plans
    return max(stage.value for stage in price(plan).memory)
