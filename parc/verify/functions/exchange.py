"""Rows that go to their experts and back: none for a rank, and thousands for one expert."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from parc.plan.blocks import Plan
from parc.plan.mesh import identify_group
from parc.plan.placement import list_travel_axes

MANY = 4_500  # rows, above every round number that a cap might have
WIDTH, CHOICES = 2, 2
ERROR = 1e-9


@dataclass(frozen=True)
class _Case:
    """A function that dispatches, as it is called over some axes."""

    verb: str
    groups: tuple[Any, ...] = ()  # its arguments, of which the last has all ranks with experts
    summed: tuple[Any, ...] = ()  # groups over which its results are terms of a sum
    over: str = ""

    @property
    def size(self) -> int:
        return int(self.groups[-1].size()) if self.groups else 1


def check_exchange(trainer: Any, plan: Plan) -> Iterator[str]:
    """Both passes of `combine` after each function that dispatches, over the experts' axes."""
    if trainer.load_axes is None:  # no experts
        return
    experts, grouped = import_module("runtime.experts"), import_module("runtime.grouped")
    for case in _list_uses(trainer.topology.mesh, plan):
        sender = case.groups[0].rank() if case.groups else 0
        for what, tokens, indices in _list_cases(case.size, sender):
            if case.verb == "dispatch_local":  # all ranks have the same tokens
                tokens, indices = _share(tokens, *case.groups), _share(indices, *case.groups)
            error = _exchange(experts, grouped, case, tokens, indices)
            if not error <= ERROR:
                over = f" over `{case.over}`" if case.over else ""
                yield f"`{case.verb}`{over} with {what} gives other sums than the experts one by one"
                return


def _list_uses(mesh: Any, plan: Plan) -> Iterator[_Case]:
    """Over no axis, over each axis of experts, and over all of them."""
    yield _Case("dispatch")
    axes = [axis for axis in plan.list_axes("experts") if plan.mesh.axis(axis).size > 1]
    if not axes:
        return
    whole = plan.mesh.name_group(axes)
    for name in dict.fromkeys((*axes, whole)):
        group = mesh.get_group(identify_group(name))
        yield _Case("dispatch", (group,), over=name)
        yield _Case("dispatch_local", (group,), (group,), name)
    if (travel := [axis for axis in axes if axis in list_travel_axes(plan)]) not in ([], axes):
        groups = tuple(mesh.get_group(identify_group(name)) for name in (plan.mesh.name_group(travel), whole))
        summed = tuple(mesh.get_group(axis) for axis in axes if axis not in travel)
        yield _Case("dispatch_among", groups, summed, whole)


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


def _exchange(experts: Any, grouped: Any, case: _Case, tokens: Tensor, indices: Tensor) -> float:
    """The largest error of results and gradients, where expert e multiplies by a matrix of its own."""
    count = 2 * case.size
    matrices = torch.randn(
        count, WIDTH, WIDTH, generator=torch.Generator().manual_seed(5), dtype=torch.float64
    )
    weights = torch.linspace(0.5, 1.5, indices.numel(), dtype=torch.float64).view(indices.shape)
    rank = case.groups[-1].rank() if case.groups else 0
    mine = matrices[2 * rank : 2 * (rank + 1)]
    one, other = (tokens.clone().requires_grad_() for _ in range(2))
    rows, counts, route = getattr(experts, case.verb)(one, indices, count, *case.groups)
    out = experts.combine(grouped.grouped_linear(rows, mine, counts), weights, route)
    out = out + 0 * one.sum()  # a rank may have no rows
    whole = out.detach().clone()
    for group in case.summed:
        dist.all_reduce(whole, group=group)
    expected = torch.zeros_like(other)
    for choice in range(CHOICES):
        products = torch.einsum("nh,noh->no", other, matrices[indices[:, choice]])
        expected = expected + weights[:, choice, None] * products
    torch.autograd.backward((out * (1 + torch.arange(WIDTH))).sum())
    torch.autograd.backward((expected * (1 + torch.arange(WIDTH))).sum())
    assert one.grad is not None
    gradient = one.grad
    for group in case.summed:
        dist.all_reduce(gradient, group=group)
    pairs = ((whole, expected.detach()), (gradient, other.grad))
    return max((float((a - b).abs().max()) for a, b in pairs if b is not None and b.numel()), default=0.0)
