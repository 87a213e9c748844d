"""Groups of a microbatch's sequences with a balance loss each: the reference runs every group by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor

from parc.plan.blocks import Plan
from parc.plan.placement import count_balance_groups
from parc.verify.numbers.shards import StatesByAxis


class _Key(Protocol):
    @property
    def microbatch(self) -> int: ...

    def _replace(self: Key, *, microbatch: int) -> Key: ...


Key = TypeVar("Key", bound=_Key)


def join_groups(
    values: Mapping[Key, Tensor], key: Key, states: StatesByAxis, plan: Plan, rank: int
) -> Tensor | None:
    """The value of a microbatch, of its groups one after the other; None where there is none.

    Of what no axis of data shards that of the rank's own group: each rank has another one.
    """
    groups, data = count_balance_groups(plan), plan.list_axes("data")
    keys = [key._replace(microbatch=key.microbatch * groups + group) for group in range(groups)]
    if not all(each in values for each in keys):
        return None
    dims = {at.dim for axis, at in states.items() if axis in data and at.sharded}
    if not dims:
        return values[keys[plan.mesh.index(rank, data) if groups > 1 else 0]]
    return torch.cat([values[each] for each in keys], dims.pop()) if groups > 1 else values[keys[0]]
