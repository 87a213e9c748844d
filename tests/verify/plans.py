"""Two small models of `examples/`, and layouts of them as plan text.

Sizes are unlike each other, so that no two dims can be mixed up; the first model's first layer is dense, and
the second model's router leaves experts without tokens in many a microbatch.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from parc.capture.capture import Captured, capture
from parc.check.load import Loaded, load_text
from parc.ir.program import Program
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.shard.propagate import propagate
from parc.source import Source

EXAMPLES = Path(__file__).parents[2] / "examples"
VOCABULARY = 32  # of both models

MODELS = """
model moe {
  source = "moe.py:MoETransformer"
  arguments {
    n_layers = 3, dim = 16, n_heads = 4, n_kv_heads = 2, ffn = 12, n_experts = 4, top_k = 2, vocab = 32
    max_length = 6, n_dense_layers = 1, dense_ffn = 20, shared_ffn = 8, init_std = 0.3
  }
  shape {
    layers = 3, hidden = 16, heads = 4, kv_heads = 2, ffn = 12, dense_ffn = 20, shared_ffn = 8
    dense_layers = 1, gated = true, experts = 4, top_k = 2, vocab = 32
  }
}
model classic {
  source = "classic.py:SwitchGPT"
  arguments { depth = 3, width = 16, heads = 4, inner = 24, count = 4, symbols = 32, context = 6 }
  shape { layers = 3, hidden = 16, heads = 4, kv_heads = 4, ffn = 24, experts = 4, top_k = 1, vocab = 32 }
}
train moe_run {
  model = moe, seed = 3, steps = 10
  batch { sequences = 16, length = 6, microbatches = 2 }
  loss { balance = 0.05 }
  optimizer = adamw { lr = 2e-3, warmup = 2, clip = 0.5 }
  precision { compute = fp64, master = fp64 }
}
train classic_run {
  model = classic, seed = 3, steps = 10
  batch { sequences = 16, length = 6, microbatches = 2 }
  optimizer = adamw { lr = 2e-3, warmup = 2, clip = 0.5 }
  precision { compute = fp64, master = fp64 }
}
"""


def loaded(model: str, ranks: int, layout: str) -> Loaded:
    """One plan, `p`, of a model on so many ranks; its diagnostics are for the caller to judge."""
    text = f"{MODELS}cluster c {{ levels = [node: {ranks}] }}\nplan p for {model}_run on c {{\n{layout}\n}}\n"
    return load_text(Source(str(EXAMPLES / "of-a-test.parc"), text))


@cache
def captured(model: str) -> Captured:
    """No plan changes what is captured, so that all of them share it."""
    return capture(loaded(model, 1, "mesh = [dp: 1]\ndata over [dp]").plans[0])


def compile_program(plan: Plan, model: Captured) -> Program:
    """The program of a plan, in memory."""
    return lower(plan, model, propagate(plan, model))
