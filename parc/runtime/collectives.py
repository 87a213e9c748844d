"""Moves of a tensor over one mesh axis, each with its dual in the backward pass.

How a value lies on an axis decides how its gradient does: where the value is a sum of the ranks' terms, the
gradient is whole on each, and the other way round. A value that is whole on every rank comes in two kinds,
which differ in the gradient: `invariant`, whole as well, and `replicated`, a term of a sum on each rank.

| move | from -> to | forward | backward |
| --- | --- | --- | --- |
| `replicate` | invariant -> replicated | nothing | all-reduce |
| `all_reduce` | partial -> invariant | all-reduce | nothing |
| `all_gather` | sharded -> replicated | all-gather | reduce-scatter |
| `gather` | sharded -> invariant | all-gather | this rank's share |
| `reduce_scatter` | partial -> sharded | reduce-scatter | all-gather |
| `split` | invariant -> sharded | this rank's share | all-gather |
| `take` | replicated -> sharded | this rank's share | zeros elsewhere |
| `first` | replicated -> partial | zeros but on the axis' first rank | the same |

`dim` is sharded in `blocks` equal blocks, each of which is shared out over the axis; 1 is a plain shard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup


def replicate(x: Tensor, group: ProcessGroup) -> Tensor:
    """Invariant -> replicated."""
    return _Replicate.apply(x, group)


def all_reduce(x: Tensor, group: ProcessGroup) -> Tensor:
    """Partial -> invariant."""
    return _AllReduce.apply(x, group)


def all_gather(x: Tensor, dim: int, group: ProcessGroup, blocks: int = 1) -> Tensor:
    """Sharded -> replicated."""
    return _AllGather.apply(x, dim, group, blocks)


def gather(x: Tensor, dim: int, group: ProcessGroup, blocks: int = 1) -> Tensor:
    """Sharded -> invariant."""
    return _Gather.apply(x, dim, group, blocks)


def reduce_scatter(x: Tensor, dim: int, group: ProcessGroup, blocks: int = 1) -> Tensor:
    """Partial -> sharded."""
    return _ReduceScatter.apply(x, dim, group, blocks)


def split(x: Tensor, dim: int, group: ProcessGroup, blocks: int = 1) -> Tensor:
    """Invariant -> sharded."""
    return _Split.apply(x, dim, group, blocks)


def take(x: Tensor, dim: int, group: ProcessGroup, blocks: int = 1) -> Tensor:
    """Replicated -> sharded: autograd itself leaves zeros where this rank took nothing."""
    return _share(x, dim, group, blocks)


def first(x: Tensor, group: ProcessGroup) -> Tensor:
    """Replicated -> partial."""
    return x if group.rank() == 0 else x * 0


def _summed(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


def _joined(x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
    """The shares of all ranks, block by block in the order of the ranks."""
    x = x.contiguous()
    shares = x.new_empty(group.size() * x.shape[0], *x.shape[1:])
    dist.all_gather_single(shares, x, group=group)
    shares = torch.unflatten(shares, 0, (group.size(), -1))
    shares = torch.unflatten(shares, dim + 1, (blocks, -1))  # ranks, .., blocks, share, ..
    return shares.movedim(0, dim + 1).flatten(dim, dim + 2)


def _cut(x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
    """What each rank gets, ranks in front: the inverse of `_joined`."""
    shares = torch.unflatten(x, dim, (blocks, group.size(), -1))
    return shares.movedim(dim + 1, 0).flatten(dim + 1, dim + 2)


def _share(x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
    return _cut(x, dim, group, blocks)[group.rank()].contiguous()


def _scattered_sum(x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
    terms = _cut(x, dim, group, blocks)
    total = x.new_empty(terms.shape[1:])
    dist.reduce_scatter_single(total, terms.flatten(0, 1).contiguous(), group=group)
    return total


class _Move(Function):
    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped


class _Replicate(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _summed(gradient, ctx.group), None


class _AllReduce(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        return _summed(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _AllGather(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
        ctx.where = dim, group, blocks
        return _joined(x, dim, group, blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _scattered_sum(gradient, *ctx.where), None, None, None


class _Gather(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
        ctx.where = dim, group, blocks
        return _joined(x, dim, group, blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _share(gradient, *ctx.where), None, None, None


class _ReduceScatter(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
        ctx.where = dim, group, blocks
        return _scattered_sum(x, dim, group, blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _joined(gradient, *ctx.where), None, None, None


class _Split(_Move):
    @staticmethod
    def forward(ctx: Any, x: Tensor, dim: int, group: ProcessGroup, blocks: int) -> Tensor:
        ctx.where = dim, group, blocks
        return _share(x, dim, group, blocks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _joined(gradient, *ctx.where), None, None, None
