"""Plans for tests: a good one, and how to complete a fragment of one."""

from __future__ import annotations

import re

from parc.check.load import Loaded, load_text
from parc.diagnostic import Diagnostic
from parc.source import Source

# The blocks of a small plan that is right; DEVICES stands for as many as its mesh has.
BLOCKS = {
    "cluster": "cluster farm { levels = [node: DEVICES] }",
    "model": """
model moe {
  source = "moe.py:MoETransformer"
  shape {
    layers = 16, hidden = 1024, heads = 16, kv_heads = 8, ffn = 2048, gated = true
    experts = 8, top_k = 2, vocab = 32000
  }
}""",
    "train": """
train first {
  model = moe
  batch { sequences = 32, length = 1024, microbatches = 4 }
}""",
    "plan": """
plan wide for first on farm {
  mesh = [dp: 4]
  data over [dp]
}""",
}

SEED = """\
cluster farm {
  levels = [fabric: 8, node: 16]        # outermost first
  device { compute = 400 TFLOPS, memory = 64 GB, memory_bandwidth = 1.8 TB/s }
  link node   { bandwidth = 900 GB/s, latency = 3 us }       # per device and direction
  link fabric { bandwidth = 50 GB/s,  latency = 8 us }
}

model moe {
  source    = "moe.py:MoETransformer"
  arguments { n_layers = 16, dim = 1024, ratios = [1, 2.5], name = "moe", tied = false }
  shape     { layers = 16, hidden = 1024, heads = 16, kv_heads = 16, ffn = 2048, gated = true, experts = 64
              top_k = 2, vocab = 32000 }
}

train first {                            # what
  model = moe, seed = 1, steps = 1000
  batch     { sequences = 256, length = 1024, microbatches = 32 }
  loss      { balance = 0.01 }
  optimizer = adamw { lr = 3e-4, clip = 1.0 }
  precision { compute = bf16, master = fp32 }
  dataset   = files("corpus/*.txt")
}

plan wide for first on farm {            # where
  mesh = [ep: 8, pp: 4, tp: 4]           # rank = (ep * 4 + pp) * 4 + tp
  data     over [ep] { shard = optimizer }
  tensor   over [tp] { sequence = true }
  experts  over [ep] { tensor = [tp] }
  pipeline over [pp] { schedule = 1f1b, chunks = 1, layers = [4, 4, 4, 4] }
  recompute = layer
  expect { devices == 128 }
}

launch slurm for wide { partition = "gpu", time = 2 h }
"""


def complete(fragment: str) -> str:
    """The fragment, and of the small plan the blocks that it leaves out. Its own lines stay first."""
    heads = {"cluster": "cluster farm", "model": "model moe", "train": "train first", "plan": "plan"}
    missing = [
        BLOCKS[kind] for kind, head in heads.items() if not re.search(rf"^\s*{head}\b", fragment, re.M)
    ]
    text = "\n".join([fragment, *missing])
    plans = load_text(Source("plan.parc", text.replace("DEVICES", "1"))).plans
    return text.replace("DEVICES", str(plans[0].mesh.size if plans else 1))


def load(text: str, *overrides: str, path: str = "plan.parc") -> Loaded:
    return load_text(Source(path, text), overrides)


def list_findings(text: str, *overrides: str) -> list[tuple[str, str]]:
    """(code, the text at the primary label) of each diagnostic."""
    return [summarize(each) for each in load(text, *overrides).diagnostics]


def summarize(diagnostic: Diagnostic) -> tuple[str, str]:
    return diagnostic.code, diagnostic.span.text if diagnostic.span else ""
