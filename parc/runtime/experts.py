"""Dispatch of tokens to their experts and back. None is dropped, unless experts have a capacity.

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

from .capacity import KeptPairs
from .grouped import RowCounts
from .recompute import keep_received, keep_result

TOKEN_COUNTS = "tokens_per_expert"
"""The buffer in which a module of experts counts the tokens that it has sent to each: (E,) int64."""


@dataclass(frozen=True)
class Exchange:
    """How rows were exchanged over a group of ranks."""

    group: ProcessGroup
    sent: list[int]  # rows to each rank
    received: list[int]  # rows from each rank
    by_expert: Tensor  # the received row at each place once they are sorted by expert, not by sender


@dataclass(frozen=True)
class Route:
    """What `combine` needs to bring the rows of `dispatch` back."""

    order: Tensor  # the (token, choice) pair that each row sent is for; pairs are numbered token by token
    tokens: int
    choices: int
    tokens_per_expert: Tensor  # (E,) of this rank's pairs, how many chose each expert
    exchange: Exchange | None = None  # None: the rows stayed on this rank


def dispatch(
    tokens: Tensor,
    indices: Tensor,
    experts: int,
    group: ProcessGroup | None = None,
    kept: KeptPairs | None = None,
) -> tuple[Tensor, RowCounts, Route]:
    """tokens (N, H), indices (N, K) -> rows (.., H) by expert of this rank, how many for each, the way back.

    With `group`, its ranks hold equal shares of the experts in order, and each its own tokens: rows are sent
    to them. The number of rows is whatever the routing decides. With `kept`, the other pairs become no rows,
    and `combine` adds nothing for them.
    """
    order, counts, choices, chosen = _sort_by_expert(indices, experts, kept)
    if group is None or group.size() == 1:
        if kept is not None:
            order = order[: _count_rows(counts)]
        rows = tokens.index_select(0, order // choices)
        return rows, RowCounts(counts), Route(order, len(tokens), choices, chosen)
    sent, received, by_expert, own = _exchange_counts(counts, group)
    order = order[: sum(sent)]
    rows = tokens.index_select(0, order // choices)
    exchange = Exchange(group, sent, received, by_expert)
    return _send(rows, exchange), RowCounts(own), Route(order, len(tokens), choices, chosen, exchange)


def dispatch_local(
    tokens: Tensor, indices: Tensor, experts: int, group: ProcessGroup, kept: KeptPairs | None = None
) -> tuple[Tensor, RowCounts, Route]:
    """As `dispatch`, where all ranks of `group` hold the same tokens: each takes the rows of its own experts.

    What `combine` returns is then a term of a sum over `group`.
    """
    order, counts, choices, chosen = _sort_by_expert(indices, experts, kept)
    mine = experts // group.size()
    first = group.rank() * mine
    start, stop = _find_rows(counts, first, mine)
    order = order[start:stop]
    rows = tokens.index_select(0, order // choices)
    return rows, RowCounts(counts[first : first + mine]), Route(order, len(tokens), choices, chosen)


def dispatch_among(
    tokens: Tensor,
    indices: Tensor,
    experts: int,
    group: ProcessGroup,
    whole: ProcessGroup,
    kept: KeptPairs | None = None,
) -> tuple[Tensor, RowCounts, Route]:
    """As `dispatch` over `group`, a part of `whole`, where the other parts of it hold the same tokens.

    The ranks of `whole` hold equal shares of the experts in order. Each part sends the rows of its own
    experts. What `combine` returns is then a term of a sum over the parts.
    """
    places = _place_experts(experts, group, whole, indices.device)
    kept = None if kept is None else kept.renumber(places)
    order, counts, choices, chosen = _sort_by_expert(places[indices], experts, kept)
    held = experts // whole.size() * group.size()
    sent, received, by_expert, own = _exchange_counts(counts[:held], group)
    order = order[: sum(sent)]
    rows = tokens.index_select(0, order // choices)
    exchange = Exchange(group, sent, received, by_expert)
    route = Route(order, len(tokens), choices, chosen[places], exchange)
    return _send(rows, exchange), RowCounts(own), route


def combine(rows: Tensor, weights: Tensor, route: Route) -> Tensor:
    """rows (.., H) as `dispatch` gave them, weights (N, K) -> (N, H): weighted sums over the choices."""
    if (there := route.exchange) is not None:
        rows = torch.empty_like(rows).index_copy(0, there.by_expert, rows)
        rows = _AllToAll.apply(rows, there.received, there.sent, there.group)
    pairs = rows.new_zeros(route.tokens * route.choices, rows.shape[-1]).index_copy(0, route.order, rows)
    shares = weights.reshape(route.tokens, route.choices, 1)
    return (pairs.view(route.tokens, route.choices, -1) * shares).sum(dim=1)


@keep_result
def _sort_by_expert(
    indices: Tensor, experts: int, kept: KeptPairs | None
) -> tuple[Tensor, Tensor, int, Tensor]:
    """The pairs in the order of their experts, how many rows each expert has, K, and how many chose each.

    Pairs that are dropped come last.
    """
    flat = indices.reshape(-1)
    if kept is None:
        counts = chosen = torch.bincount(flat, minlength=experts)
    else:
        flat = flat.where(kept.mask.reshape(-1), experts)
        counts, chosen = kept.counts, kept.chosen
    return flat.argsort(stable=True), counts, flat.numel() // max(len(indices), 1), chosen


@keep_result
def _count_rows(counts: Tensor) -> int:
    return int(counts.sum())  # where the host waits for the device


@keep_result
def _exchange_counts(counts: Tensor, group: ProcessGroup) -> tuple[list[int], list[int], Tensor, Tensor]:
    """counts (E,) -> sent, received and by_expert of an `Exchange`, and the rows of this rank's experts."""
    mine = len(counts) // group.size()
    theirs = torch.empty_like(counts)
    dist.all_to_all_single(theirs, counts, group=group)
    by_sender = theirs.view(group.size(), mine)  # how many rows each rank has for each of mine
    by_rank = torch.stack([counts.view(group.size(), mine).sum(dim=1), by_sender.sum(dim=1)])
    sent, received = by_rank.tolist()  # where the host waits for the device
    expert = torch.arange(mine, device=counts.device).repeat(group.size())
    by_expert = expert.repeat_interleave(theirs, output_size=sum(received)).argsort(stable=True)
    return sent, received, by_expert, by_sender.sum(dim=0)


def _place_experts(experts: int, group: ProcessGroup, whole: ProcessGroup, device: torch.device) -> Tensor:
    """(E,) the place of each expert where those on the ranks of `group` come first, in the order of these."""
    ranks = [dist.get_group_rank(whole, rank) for rank in dist.get_process_group_ranks(group)]
    others = [rank for rank in range(whole.size()) if rank not in ranks]
    numbers = torch.arange(experts, device=device).view(whole.size(), -1)
    return numbers[[*ranks, *others]].flatten().argsort()


def _send(rows: Tensor, there: Exchange) -> Tensor:
    """The rows that this rank gets, sorted by expert."""
    rows = _AllToAll.apply(rows, there.sent, there.received, there.group)
    return rows.index_select(0, there.by_expert)


@keep_result
def _find_rows(counts: Tensor, first: int, mine: int) -> tuple[int, int]:
    """Where the rows of `mine` experts from `first` on begin and end."""
    numbers: list[int] = counts.tolist()  # where the host waits for the device
    return sum(numbers[:first]), sum(numbers[: first + mine])


class _AllToAll(Function):
    """All-to-all of rows; the gradient goes back the way they came."""

    apply: ClassVar[Callable[..., Tensor]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
        ctx.back = received, sent, group
        return _exchange_rows(rows, sent, received, group)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return _exchange_rows(gradient, *ctx.back), None, None, None


@keep_received
def _exchange_rows(rows: Tensor, sent: list[int], received: list[int], group: ProcessGroup) -> Tensor:
    out = rows.new_empty(sum(received), *rows.shape[1:])
    dist.all_to_all_single(out, rows.contiguous(), received, sent, group=group)
    return out
