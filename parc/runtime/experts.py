"""Tokens to their experts and back, without dropping any.

Shape suffixes: N tokens of this rank, K experts a token, H model width, E experts in all, rows: (token, choice) pairs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed import ProcessGroup


@dataclass(frozen=True)
class Route:
    """How rows came to be where they are, for the way back."""

    order: Tensor  # the (token, choice) pair that each row sent is for; pairs are numbered token by token
    tokens: int
    choices: int
    load: Tensor  # (E,) of this rank's pairs, how many chose each expert
    arranged: Tensor | None = None  # where each received row has been put: by expert, not by sender
    sent: list[int] | None = None  # rows to each rank
    received: list[int] | None = None  # rows from each rank
    group: ProcessGroup | None = None


def dispatch(
    tokens: Tensor, indices: Tensor, experts: int, group: ProcessGroup | None = None
) -> tuple[Tensor, list[int], Route]:
    """tokens (N, H), indices (N, K) -> rows (.., H) sorted by this rank's experts, how many for each, and the way back.

    With `group`, its ranks hold equal shares of the experts in order, and each its own tokens: rows travel to them. The
    number of rows is whatever the routing says.
    """
    order, load, choices = _sorted(indices, experts)
    rows = tokens.index_select(0, order // choices)
    if group is None or group.size() == 1:
        return rows, load.tolist(), Route(order, len(tokens), choices, load)
    mine = experts // group.size()
    theirs = torch.empty_like(load)
    dist.all_to_all_single(
        theirs, load, group=group
    )  # (ranks x mine): how many rows each rank has for each of mine
    by_sender = theirs.view(group.size(), mine)
    sent = load.view(group.size(), mine).sum(dim=1).tolist()
    received = by_sender.sum(dim=1).tolist()
    rows = _Exchange.apply(rows, sent, received, group)
    expert = torch.arange(mine, device=load.device).repeat(group.size()).repeat_interleave(theirs)
    arranged = expert.argsort(stable=True)
    route = Route(order, len(tokens), choices, load, arranged, sent, received, group)
    return rows.index_select(0, arranged), by_sender.sum(dim=0).tolist(), route


def dispatch_local(
    tokens: Tensor, indices: Tensor, experts: int, group: ProcessGroup
) -> tuple[Tensor, list[int], Route]:
    """As `dispatch`, where every rank of `group` holds the same tokens: each takes the rows of its own experts.

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
    """rows (.., H) as `dispatch` gave them, weights (N, K) -> (N, H): each token's weighted sum over its choices."""
    if route.arranged is not None:
        assert route.sent is not None and route.received is not None and route.group is not None
        rows = torch.empty_like(rows).index_copy(0, route.arranged, rows)
        rows = _Exchange.apply(rows, route.received, route.sent, route.group)
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
