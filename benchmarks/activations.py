"""Bytes that a step of an emitted program holds at most beside its states, against what is predicted.

A small model is trained for one step on this machine, for each kind of `recompute` and several layouts. A
mode of torch records when each tensor's memory is made and freed. Predictions take every norm and activation
for one kernel, which saves its input alone; this model writes both out, and so saves more.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from parc.capture.capture import capture
from parc.check.load import load_text
from parc.cost.job.from_plan import derive_job
from parc.cost.memory.peak import predict_memory
from parc.emit.program import emit
from parc.emit.write import write
from parc.lower.program import lower
from parc.plan.blocks import Plan
from parc.runtime.process.launch import spawn
from parc.shard.propagate import propagate
from parc.source import Source
from parc.verify.execution.trainer import load_trainer

EXAMPLES = Path(__file__).parents[1] / "examples"
KINDS = ("none", "layer", "attention", "experts")
LAYOUTS = {
    "one rank": "mesh = [dp: 1], data over [dp]",
    "tensors and sequence": "mesh = [tp: 2], tensor over [tp] { sequence = true }, experts over [tp]",
    "experts": "mesh = [ep: 2], data over [ep], experts over [ep]",
    "stages": "mesh = [pp: 2], pipeline over [pp]",
}
PLAN = """
cluster c { levels = [node: 2] }
model moe {
  source = "moe.py:MoETransformer"
  arguments {
    n_layers = 4, dim = 128, n_heads = 4, n_kv_heads = 4, ffn = 256, n_experts = 8, top_k = 2, vocab = 64
    max_length = 64
  }
  shape {
    layers = 4, hidden = 128, heads = 4, kv_heads = 4, ffn = 256, gated = true, experts = 8, top_k = 2
    vocab = 64
  }
}
train t {
  model = moe, seed = 3, steps = 2
  batch { sequences = 16, length = 64, microbatches = 4 }
  precision { compute = fp32, master = fp32 }
}
"""


class Recorder(TorchDispatchMode):
    """Bytes of the tensors that are made while it holds: those that are there, and the most at a time."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = {_identify(tensor) for tensor in _list_tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for tensor in _list_tensors(out):
            if (key := _identify(tensor)) not in self.live and key not in given:
                storage = tensor.untyped_storage()
                self.live[key] = storage.nbytes()
                self.now += storage.nbytes()
                self.peak = max(self.peak, self.now)
                weakref.finalize(storage, self._free, key)
        return out

    def _free(self, key: int) -> None:
        self.now -= self.live.pop(key)


def _list_tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _identify(tensor: Tensor) -> int:
    storage: Any = tensor.untyped_storage()
    return int(storage._cdata)  # noqa: SLF001 - one number a storage; an empty one has no address


class _Bytes:
    """An endless dataset, the same on each run."""

    def __len__(self) -> int:
        return 1 << 20

    def read(self, start: int, length: int) -> Tensor:
        return torch.randint(0, 64, (length,), generator=torch.Generator().manual_seed(start))


def record(plan: Plan) -> list[int]:
    """Bytes of each rank's fullest moment, beside parameters, gradients and optimizer states."""
    captured = capture(plan)
    files = emit(plan, lower(plan, captured, propagate(plan, captured)), {})
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "program"
        write(files, folder)

        def work() -> None:
            torch.set_num_threads(1)
            trainer = load_trainer(folder, _Bytes(), "cpu")
            for parameter in trainer.parameters:
                parameter.ensure_gradient()
            with Recorder() as recorder:
                trainer.run_microbatches(0)
            (Path(scratch) / str(dist.get_rank())).write_text(str(recorder.peak))

        spawn(plan.mesh.size, work)
        return [int((Path(scratch) / str(rank)).read_text()) for rank in range(plan.mesh.size)]


def compare() -> Iterator[tuple[str, ...]]:
    """Rows of the table: for each layout and kind its fullest rank."""
    for name, layout in LAYOUTS.items():
        for kind in KINDS:
            text = f"{PLAN}\nplan p for t on c {{ {layout}, recompute = {kind} }}\n"
            (plan,) = load_text(Source(str(EXAMPLES / "activations.parc"), text)).plans
            job = derive_job(plan)
            assert job is not None
            predicted = [predict_memory(job, rank) for rank in range(job.degrees.pipeline)]
            most = max(each.activations + max(each.logits, each.working) for each in predicted)
            found = max(record(plan))
            yield name, kind, f"{found / 1e6:.2f} MB", f"{most / 1e6:.2f} MB", f"{most / found - 1:+.0%}"


if __name__ == "__main__":
    for row in compare():
        print("{:<22}{:<12}recorded {:>9}  predicted {:>9}  {}".format(*row), flush=True)
