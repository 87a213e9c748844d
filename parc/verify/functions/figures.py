"""Figures that no step of training depends on: the load of experts, and rates by the clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist

from parc.plan.blocks import Plan
from parc.runtime.experts import TOKEN_COUNTS

ERROR = 1e-6  # counts are summed in float32


def check_load(trainer: Any, plan: Plan) -> Iterator[str]:
    """The load of experts, for counts that are known, which are cleared once they are reported."""
    if trainer.load_axes is None:
        return
    held = [name for stage in trainer.stages for name, _ in stage.named_buffers()]
    banks = sum(name.split(".")[-1] == TOKEN_COUNTS for name in held)
    if len(trainer.token_counts) != banks:
        yield f"the load of experts is that of {len(trainer.token_counts)} of the {banks} layers of a rank"
    rank = dist.get_rank()
    worst = torch.zeros((), dtype=torch.float64)
    for layer, counts in enumerate(trainer.token_counts.values()):
        experts = torch.arange(1, len(counts) + 1)
        counts.copy_(_count(experts, rank, layer))
        whole = sum(_count(experts, each, layer) for each in plan.mesh.group(rank, trainer.load_axes))
        assert isinstance(whole, torch.Tensor)
        worst = torch.maximum(worst, whole.max() / whole.double().mean())
    if trainer.topology.pipeline is not None:
        dist.all_reduce(worst, dist.ReduceOp.MAX, group=trainer.topology.pipeline)
    counts = trainer.sum_token_counts(trainer.load_axes)
    found = float(trainer.compute_expert_load(counts))
    if not abs(found - float(worst)) <= ERROR * float(worst):
        yield f"the load of experts is reported as {found:g}, not {float(worst):g}"
    if any(bool(counts.any()) for counts in trainer.token_counts.values()):
        yield "the tokens of experts are not cleared when they are reported: the next step counts them again"


def _count(experts: torch.Tensor, rank: int, layer: int) -> torch.Tensor:
    """Tokens that a rank has sent to each expert of a layer."""
    return experts * experts * (rank + 2) + 3 * layer + rank % 3
