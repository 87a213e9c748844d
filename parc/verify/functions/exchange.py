"""Rows that go to their experts and back: none for a rank, and thousands for one expert."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from parc.plan.blocks import Plan

MANY = 4_500  # rows, above every round number that a cap might have
WIDTH, CHOICES = 2, 2
ERROR = 1e-9


def check_exchange(trainer: Any, plan: Plan) -> Iterator[str]:
    """`dispatch`, `dispatch_local`, `grouped_linear` and `combine`, both passes, over the experts' axes."""
    if trainer.load_axes is None:  # no experts
        return
    experts, grouped = import_module("runtime.experts"), import_module("runtime.grouped")
    names = [axis for axis in plan.list_axes("experts") if plan.mesh.axis(axis).size > 1]
    groups = [(axis, trainer.topology.mesh.get_group(axis)) for axis in names]
    for axis, group in [(None, None), *groups]:
        size = group.size() if group is not None else 1
        for what, tokens, indices in _list_cases(size, group.rank() if group is not None else 0):
            verbs = ("dispatch", "dispatch_local") if group is not None else ("dispatch",)
            for verb in verbs:
                if verb == "dispatch_local":  # all ranks have the same tokens
                    tokens, indices = _share(tokens, group), _share(indices, group)
                error = _exchange(experts, grouped, verb, tokens, indices, 2 * size, group)
                if not error <= ERROR:
                    over = f" over `{axis}`" if axis else ""
                    yield f"`{verb}`{over} with {what} gives other sums than the experts one by one"
                    return


def _list_cases(size: int, rank: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(description, tokens, indices of experts), of which there are two a rank."""
    generator = torch.Generator().manual_seed(17 + rank)

    def draw(count: int) -> Tensor:
        return torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)

    yield "rows for all", draw(9), torch.randint(2 * size, (9, CHOICES), generator=generator)
    yield "no rows for most ranks", draw(5), torch.tensor([[0, 1]]).expand(5, CHOICES)
    yield f"{MANY} rows for one expert", draw(MANY), torch.zeros(MANY, CHOICES, dtype=torch.int64)


def _share(tensor: Tensor, group: Any) -> Tensor:
    """The tensor of the group's last rank, on all of them."""
    size = torch.tensor(tensor.shape)
    dist.broadcast(size, group=group, group_src=group.size() - 1)
    shared = (
        tensor.contiguous().clone() if group.rank() == group.size() - 1 else tensor.new_empty(*size.tolist())
    )
    dist.broadcast(shared, group=group, group_src=group.size() - 1)
    return shared


def _exchange(
    experts: Any, grouped: Any, verb: str, tokens: Tensor, indices: Tensor, count: int, group: Any
) -> float:
    """The largest error of results and gradients, where expert e multiplies by a matrix of its own."""
    matrices = torch.randn(
        count, WIDTH, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    weights = torch.linspace(0.5, 1.5, indices.numel(), dtype=torch.float64).view(indices.shape)
    size, rank = (group.size(), group.rank()) if group is not None else (1, 0)
    mine = matrices[rank * count // size : (rank + 1) * count // size]
    one, other = (tokens.clone().requires_grad_() for _ in range(2))
    rows, counts, route = getattr(experts, verb)(one, indices, count, group)
    out = experts.combine(grouped.grouped_linear(rows, mine, counts), weights, route)
    if verb == "dispatch_local":
        out = out + 0 * one.sum()
        whole = out.detach().clone()
        dist.all_reduce(whole, group=group)
    else:
        whole = out.detach()
    expected = torch.zeros_like(other)
    for choice in range(CHOICES):
        products = torch.einsum("nh,noh->no", other, matrices[indices[:, choice]])
        expected = expected + weights[:, choice, None] * products
    torch.autograd.backward((out * (1 + torch.arange(WIDTH))).sum())
    torch.autograd.backward((expected * (1 + torch.arange(WIDTH))).sum())
    assert one.grad is not None
    gradient = one.grad
    if verb == "dispatch_local":
        dist.all_reduce(gradient, group=group)
    pairs = ((whole, expected.detach()), (gradient, other.grad))
    return max((float((a - b).abs().max()) for a, b in pairs if b is not None and b.numel()), default=0.0)
