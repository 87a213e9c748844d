"""Embedding and cross-entropy where the vocabulary, or the tokens, lie on several ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup


def sharded_embedding(
    indices: Tensor, table: Tensor, group: ProcessGroup, padding_idx: int | None = None
) -> Tensor:
    """Rows of a table of which each rank holds its share, in order: a partial sum, zeros for others' rows.

    Row `padding_idx` of the whole table takes no gradient.
    """
    rows = indices - group.rank() * table.shape[0]
    mine = (rows >= 0) & (rows < table.shape[0])
    found = F.embedding(torch.where(mine, rows, 0), table)
    if padding_idx is not None:
        found = torch.where((indices == padding_idx).unsqueeze(-1), found.detach(), found)
    return torch.where(mine.unsqueeze(-1), found, 0)


def cross_entropy(
    logits: Tensor,
    labels: Tensor,
    *,
    reduction: Literal["none", "mean", "sum"] = "mean",
    ignore_index: int = -100,
    vocabulary: ProcessGroup | None = None,
    tokens: Sequence[ProcessGroup] = (),
) -> Tensor:
    """Cross-entropy of logits (N, V) against labels (N), in nats.

    With `vocabulary`, V is this rank's share of it, and the result is the same on all its ranks. With
    `tokens`, N is this rank's share of all tokens, and the mean over the valid ones of all ranks is a partial
    sum.
    """
    if vocabulary is None:
        losses = F.cross_entropy(logits, labels, reduction="none", ignore_index=ignore_index)
    else:
        losses = _Sharded.apply(logits, labels, vocabulary, ignore_index)
    if reduction == "none":
        return losses
    if reduction == "sum":
        return losses.sum()
    valid = (labels != ignore_index).sum()
    for group in tokens:
        dist.all_reduce(valid, group=group)
    return losses.sum() / valid


class _Sharded(Function):
    """Cross-entropy of each token, where every rank holds the logits of its share of the vocabulary."""

    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor, group: ProcessGroup, ignore_index: int) -> Tensor:
        given = logits.dtype
        logits = logits.to(torch.promote_types(given, torch.float32))  # as torch does inside
        largest = logits.amax(dim=-1)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=group)
        weights = (logits - largest.unsqueeze(-1)).exp()
        columns = labels - group.rank() * logits.shape[-1]
        mine = (columns >= 0) & (columns < logits.shape[-1])
        columns = torch.where(mine, columns, 0)
        picked = logits.gather(-1, columns.unsqueeze(-1)).squeeze(-1) - largest
        parts = torch.stack([weights.sum(dim=-1), torch.where(mine, picked, 0)])
        dist.all_reduce(parts, group=group)
        total, label = parts.unbind()
        valid = labels != ignore_index
        ctx.save_for_backward((weights / total.unsqueeze(-1)).to(given), columns, mine, valid)
        return torch.where(valid, total.log() - label, 0).to(given)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        probabilities, columns, mine, valid = ctx.saved_tensors
        wrong = probabilities.clone()
        wrong.scatter_add_(-1, columns.unsqueeze(-1), -mine.to(wrong.dtype).unsqueeze(-1))
        return wrong * (gradient * valid).unsqueeze(-1), None, None, None
