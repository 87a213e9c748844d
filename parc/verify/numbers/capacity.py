"""A capacity of experts on one device: pairs beyond it are weighted with zero."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from parc.capture.calls import find_roles
from parc.capture.experts.bank import Bank
from parc.capture.graph import get_user_name


def limit_experts(model: nn.Module, banks: Mapping[str, Bank], capacity: float) -> None:
    """Gives the experts of the user's model a capacity: `capacity` times an expert's even share of a call."""
    for path, bank in banks.items():
        own = get_user_name(path)
        hook = partial(_drop_weights, own, bank.count, capacity)
        model.get_submodule(own).register_forward_pre_hook(hook, with_kwargs=True)


def _drop_weights(
    path: str, experts: int, capacity: float, _module: nn.Module, args: Any, kwargs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    given: dict[int | str, Any] = {**dict(enumerate(args)), **kwargs}
    _, indices, weights = find_roles(path, given)
    given[weights] = given[weights] * find_kept(given[indices], experts, capacity)
    return tuple(given[place] for place in range(len(args))), {key: given[key] for key in kwargs}


def count_rows(pairs: int, experts: int, capacity: float) -> int:
    """The most rows that an expert takes of so many pairs of a token and an expert."""
    return math.ceil(Fraction(str(capacity)) * pairs / experts)


def find_kept(indices: Tensor, experts: int, capacity: float) -> Tensor:
    """indices (N, K) of all tokens of a microbatch -> (N, K) bool, whether a pair is within the capacity."""
    most = count_rows(indices.numel(), experts, capacity)
    taken, kept = [0] * experts, []
    for expert in indices.flatten().tolist():
        kept.append(taken[expert] < most)
        taken[expert] += 1
    return torch.tensor(kept, dtype=torch.bool).view_as(indices)
