"""A capacity of experts on one device: pairs beyond it are weighted with zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from parc.capture.calls import find_roles
from parc.capture.experts.bank import Bank
from parc.capture.graph import get_user_name


def limit_experts(model: nn.Module, banks: Mapping[str, Bank], capacity: float, groups: int) -> None:
    """Gives the experts of the user's model a capacity: `capacity` times an expert's even share of the pairs.

    Each microbatch comes in `groups` calls of the model, which are counted as one.
    """
    for path, bank in banks.items():
        own = get_user_name(path)
        limit = _Limit(own, bank.count, capacity, groups)
        model.get_submodule(own).register_forward_pre_hook(limit, with_kwargs=True)


class _Limit:
    """A hook of one module of experts, which has kept the first pairs of each expert so far."""

    def __init__(self, path: str, experts: int, capacity: float, groups: int) -> None:
        self.path, self.experts, self.capacity, self.groups = path, experts, capacity, groups
        self._calls = 0
        self._taken: list[int] = []

    def __call__(self, _module: nn.Module, args: Any, kwargs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self._calls % self.groups == 0:
            self._taken = [0] * self.experts
        self._calls += 1
        given: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
        _, indices, weights = find_roles(self.path, given)
        chosen = given[indices]
        most = count_rows(chosen.numel() * self.groups, self.experts, self.capacity)
        given[weights] = given[weights] * keep_first(chosen, self._taken, most)
        return tuple(given[place] for place in range(len(args))), {key: given[key] for key in kwargs}


def find_kept(indices: Tensor, experts: int, capacity: float) -> Tensor:
    """indices (N, K) of all tokens of a microbatch -> (N, K) bool, whether a pair is within the capacity."""
    return keep_first(indices, [0] * experts, count_rows(indices.numel(), experts, capacity))


def count_rows(pairs: int, experts: int, capacity: float) -> int:
    """The most rows that an expert takes of so many pairs of a token and an expert."""
    return math.ceil(Fraction(str(capacity)) * pairs / experts)


def keep_first(indices: Tensor, taken: list[int], most: int) -> Tensor:
    """indices (N, K) -> (N, K) bool, whether a pair is among the first `most` of its expert.

    `taken` has how many pairs each expert has had before, and is brought up to date.
    """
    kept = []
    for expert in indices.flatten().tolist():
        kept.append(taken[expert] < most)
        taken[expert] += 1
    return torch.tensor(kept, dtype=torch.bool).view_as(indices)
