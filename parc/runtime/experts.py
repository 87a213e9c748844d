"""Tokens to their experts and back, without dropping any.

Sizes: N tokens of this rank, K experts a token, H model width, E experts in all. A row is one (token,
choice).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Journey:
    """How rows travelled over a group of ranks."""

    group: ProcessGroup
    sent: list[int]  # rows to each rank
    received: list[int]  # rows from each rank
    arranged: Tensor  # where each received row has been put: by expert, not by sender


@dataclass(frozen=True)
class Route:
    """How rows came to be where they are, for the way back."""

    order: Tensor  # the (token, choice) pair that each row sent is for; pairs are numbered token by token
    tokens: int
    choices: int
    load: Tensor  # (E,) of this rank's pairs, how many chose each expert
    journey: Journey | None = None  # None: they stayed on this rank


def dispatch(
    tokens: Tensor, indices: Tensor, experts: int, group: ProcessGroup | None = None
) -> tuple[Tensor, list[int], Route]:
    """tokens (N, H), indices (N, K) -> rows (.., H) by expert of this rank, how many for each, the way back.

    With `group`, its ranks hold equal shares of the experts in order, and each its own tokens: rows travel to
    them. The number of rows is whatever the routing says.
    """
    order, load, choices = _sorted(indices, experts)
    rows = tokens.index_select(0, order // choices)
    if group is None or group.size() == 1:
        return rows, load.tolist(), Route(order, len(tokens), choices, load)
    mine = experts // group.size()
    theirs = torch.empty_like(load)
    dist.all_to_all_single(theirs, load, group=group)
    by_sender = theirs.view(group.size(), mine)  # how many rows each rank has for each of mine
    sent = load.view(group.size(), mine).sum(dim=1).tolist()
    received = by_sender.sum(dim=1).tolist()
    rows = _Exchange.apply(rows, sent, received, group)
    expert = torch.arange(mine, device=load.device).repeat(group.size()).repeat_interleave(theirs)
    arranged = expert.argsort(stable=True)
    route = Route(order, len(tokens), choices, load, Journey(group, sent, received, arranged))
    return rows.index_select(0, arranged), by_sender.sum(dim=0).tolist(), route


def dispatch_local(
    tokens: Tensor, indices: Tensor, experts: int, group: ProcessGroup
) -> tuple[Tensor, list[int], Route]:
    """As `dispatch`, where all ranks of `group` hold the same tokens: each takes the rows of its own experts.

    What `combine` returns is then a term of a sum over `group`.
    """
    order, load, choices = _sorted(indices, experts)
    mine = experts // group.size()
    counts = load.tolist()
    first = group.rank() * mine
    start = sum(counts[:first])
    here = counts[first : first + mine]
    order = order[start : start + sum(here)]
    return tokens.index_select(0, order // choices), here, Route(order, len(tokens), choices, load)


def combine(rows: Tensor, weights: Tensor, route: Route) -> Tensor:
    """rows (.., H) as `dispatch` gave them, weights (N, K) -> (N, H): weighted sums over the choices."""
    if route.journey is not None:
        out = route.journey
        rows = torch.empty_like(rows).index_copy(0, out.arranged, rows)
        rows = _Exchange.apply(rows, out.received, out.sent, out.group)
    pairs = rows.new_zeros(route.tokens * route.choices, rows.shape[-1]).index_copy(0, route.order, rows)
    shares = weights.reshape(route.tokens, route.choices, 1)
    return (pairs.view(route.tokens, route.choices, -1) * shares).sum(dim=1)


def _sorted(indices: Tensor, experts: int) -> tuple[Tensor, Tensor, int]:
    """The pairs in the order of their experts, how many each expert has, and K."""
    flat = indices.reshape(-1)
    return (
        flat.argsort(stable=True),
        torch.bincount(flat, minlength=experts),
        flat.numel() // max(len(indices), 1),
    )


class _Exchange(Function):
    """All-to-all of rows; the gradient goes back the way they came."""

    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
        ctx.back = received, sent, group
        return _exchanged(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchanged(gradient, *ctx.back), None, None, None


def _exchanged(rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)
    return out
