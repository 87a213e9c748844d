"""Collectives over one mesh axis. Their arguments state how a value lies on the axis before and after.

| state | each rank holds | the gradient that each rank holds |
| --- | --- | --- |
| `I`, invariant | the whole value | the whole gradient |
| `R`, replicate | the whole value | a term of a sum over the axis |
| `P`, partial | a term of a sum over the axis | the whole gradient |
| `S(dim)`, sharded | its share of `dim` | its share of `dim` |

The state of a value determines that of its gradient, so each call also determines what its backward pass
sends:

| call | forward | backward |
| --- | --- | --- |
| `all_reduce(x, group, dst=I)` | all-reduce | nothing |
| `all_gather(x, group, src=S(d), dst=R)` | all-gather | reduce-scatter |
| `all_gather(x, group, src=S(d), dst=I)` | all-gather | keeps this rank's share |
| `reduce_scatter(x, group, dst=S(d))` | reduce-scatter | all-gather |
| `convert(x, group, src=I, dst=R)` | nothing | all-reduce |
| `convert(x, group, src=I, dst=S(d))` | keeps this rank's share | all-gather |
| `convert(x, group, src=R, dst=S(d))` | keeps this rank's share | zeros for the other shares |
| `convert(x, group, src=R, dst=P)` | zeros on all ranks but the first | the same |

`convert` sends nothing in the forward pass. Any other pair of states raises ValueError.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup

from .recompute import keep_received


@dataclass(frozen=True, slots=True)
class State:
    """How a value lies on one mesh axis; see the table of this module.

    `dim` and `blocks` are of a sharded value. Its dim consists of `blocks` equal blocks, and each rank holds
    its share of every block: a weight that stacks query, key and value has 3 blocks. A negative `dim` counts
    from the end.
    """

    kind: Literal["I", "R", "P", "S"]
    dim: int = 0
    blocks: int = 1

    def __repr__(self) -> str:
        if self.kind != "S":
            return self.kind
        return f"S({self.dim}, blocks={self.blocks})" if self.blocks > 1 else f"S({self.dim})"


I = State("I")  # noqa: E741 - the field's one-letter names
R = State("R")
P = State("P")


def S(dim: int, blocks: int = 1) -> State:
    """Sharded on `dim`, in each of `blocks` equal blocks."""
    return State("S", dim, blocks)


def all_reduce(x: Tensor, group: ProcessGroup, *, dst: State) -> Tensor:
    """The sum of the ranks' terms: P -> I."""
    _check("all_reduce", (P, dst), "PI")
    return _AllReduce.apply(x, group)


def all_gather(x: Tensor, group: ProcessGroup, *, src: State, dst: State) -> Tensor:
    """The whole value, from the shares of all ranks: S(dim) -> R or I."""
    _check("all_gather", (src, dst), "SR", "SI")
    gather = _AllGather if dst == R else _AllGatherInvariant
    return gather.apply(x, group, src)


def reduce_scatter(x: Tensor, group: ProcessGroup, *, dst: State) -> Tensor:
    """This rank's share of the sum of the ranks' terms: P -> S(dim)."""
    _check("reduce_scatter", (P, dst), "PS")
    return _ReduceScatter.apply(x, group, dst)


def convert(x: Tensor, group: ProcessGroup, *, src: State, dst: State) -> Tensor:
    """The same value in another state, without communication: I -> R, I -> S(dim), R -> S(dim) or R -> P."""
    _check("convert", (src, dst), "IR", "IS", "RS", "RP")
    if dst == R:
        return _InvariantToReplicate.apply(x, group)
    if dst == P:
        return _ReplicateToPartial.apply(x, group)
    if src == I:
        return _InvariantToShard.apply(x, group, dst)
    return _select_share(x, group, dst)  # autograd itself fills the other shares of the gradient with zeros


def _check(verb: str, states: tuple[State, State], *pairs: str) -> None:
    """Raises ValueError unless the kinds of `states` are one of `pairs`, each two letters."""
    src, dst = states
    if src.kind + dst.kind not in pairs:
        takes = " or ".join(" -> ".join(pair) for pair in pairs)
        raise ValueError(f"{verb} converts {takes}, not {src} -> {dst}")


@keep_received
def _sum_terms(x: Tensor, group: ProcessGroup) -> Tensor:
    total = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total, group=group)
    return total


@keep_received
def _sum_and_scatter(x: Tensor, group: ProcessGroup, at: State) -> Tensor:
    terms = _split_shares(x, group, at)
    total = x.new_empty(terms.shape[1:])
    dist.reduce_scatter_single(total, terms.flatten(0, 1).contiguous(), group=group)
    return total


@keep_received
def _gather_shares(x: Tensor, group: ProcessGroup, at: State) -> Tensor:
    """The whole value, its blocks in order and in each block the shares of the ranks in order."""
    x, dim = x.contiguous(), at.dim % x.ndim
    shares = x.new_empty(group.size() * x.shape[0], *x.shape[1:])
    dist.all_gather_single(shares, x, group=group)
    shares = torch.unflatten(shares, 0, (group.size(), -1))
    shares = torch.unflatten(shares, dim + 1, (at.blocks, -1))  # ranks, .., blocks, share, ..
    return shares.movedim(0, dim + 1).flatten(dim, dim + 2)


def _split_shares(x: Tensor, group: ProcessGroup, at: State) -> Tensor:
    """(ranks, *the shape of a share): the inverse of `_gather_shares`."""
    dim = at.dim % x.ndim
    shares = torch.unflatten(x, dim, (at.blocks, group.size(), -1))
    return shares.movedim(dim + 1, 0).flatten(dim + 1, dim + 2)


def _select_share(x: Tensor, group: ProcessGroup, at: State) -> Tensor:
    return _split_shares(x, group, at)[group.rank()].contiguous()


def _keep_on_first(x: Tensor, group: ProcessGroup) -> Tensor:
    return x.view_as(x) if group.rank() == 0 else torch.zeros_like(x)


class _Collective(Function):
    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped


class _AllReduce(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        return _sum_terms(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _AllGather(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, at: State) -> Tensor:
        ctx.group, ctx.at = group, at
        return _gather_shares(x, group, at)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _sum_and_scatter(gradient, ctx.group, ctx.at), None, None


class _AllGatherInvariant(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, at: State) -> Tensor:
        ctx.group, ctx.at = group, at
        return _gather_shares(x, group, at)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _select_share(gradient, ctx.group, ctx.at), None, None


class _ReduceScatter(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, at: State) -> Tensor:
        ctx.group, ctx.at = group, at
        return _sum_and_scatter(x, group, at)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _gather_shares(gradient, ctx.group, ctx.at), None, None


class _InvariantToReplicate(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _sum_terms(gradient, ctx.group), None


class _InvariantToShard(_Collective):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup, at: State) -> Tensor:
        ctx.group, ctx.at = group, at
        return _select_share(x, group, at)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return _gather_shares(gradient, ctx.group, ctx.at), None, None


class _ReplicateToPartial(_Collective):
    """The zeros depend on `x` as well: every rank issues the collectives of the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: ProcessGroup) -> Tensor:
        ctx.group = group
        return _keep_on_first(x, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _keep_on_first(gradient, ctx.group), None
