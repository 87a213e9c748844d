"""Labels that are ignored, and cross-entropy over a vocabulary or tokens on several ranks."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
import torch.nn.functional as F

from parc.plan.blocks import Plan

ROWS, COLUMNS = 12, 5  # of the logits of a rank
ERROR = 1e-9


def check_divisor(trainer: Any, plan: Plan) -> Iterator[str]:
    """What the losses of a step are divided by: its labels without the ignored ones, of all data ranks."""
    axes, ignored = plan.list_axes("data"), plan.train.loss.ignore_index
    ranks, rank = plan.mesh.product(axes), plan.mesh.index(torch.distributed.get_rank(), axes)
    labels = torch.full((2, 3, ranks + 2), ignored + 1)
    labels[0, 0, : rank + 1] = ignored  # another number on each rank
    found = int(trainer.objective.compute_divisor(labels, trainer.topology))
    expected = 2 if trainer.objective.returns == "loss" else ranks * labels.numel() - ranks * (ranks + 1) // 2
    if found != expected:
        yield f"the losses of a step are divided by {found}, not by the number of its labels, {expected}"


def check_losses(trainer: Any, plan: Plan) -> Iterator[str]:
    """`cross_entropy` over each tensor axis, with ignored labels, against torch's on one device."""
    vocabulary = import_module("runtime.vocabulary")
    for axis in plan.list_axes("tensor"):
        group = trainer.topology.mesh.get_group(axis)
        size, rank = group.size(), group.rank()
        drawn = torch.randn(
            ROWS, COLUMNS * size, generator=torch.Generator().manual_seed(3), dtype=torch.float64
        )
        for ignored in dict.fromkeys((-100, plan.train.loss.ignore_index, 1)):
            labels = torch.arange(ROWS) % (COLUMNS * size)
            labels[::4] = ignored
            for reduction in ("sum", "mean", "none"):
                whole = drawn.clone().requires_grad_()
                mine = drawn[:, rank * COLUMNS : (rank + 1) * COLUMNS].clone().requires_grad_()
                expected = F.cross_entropy(whole, labels, reduction=reduction, ignore_index=ignored)
                found = vocabulary.cross_entropy(
                    mine, labels, reduction=reduction, ignore_index=ignored, vocabulary=group
                )
                torch.autograd.backward([expected.sum(), found.sum()])
                assert whole.grad is not None
                share = whole.grad[:, rank * COLUMNS : (rank + 1) * COLUMNS]
                pairs = ((found.detach(), expected.detach()), (mine.grad, share))
                if not all(a is not None and float((a - b).abs().max()) <= ERROR for a, b in pairs):
                    yield f"`cross_entropy` over `{axis}` ({reduction}, label {ignored} ignored) is wrong"
                    return
