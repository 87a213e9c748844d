"""Dispatch and combine against a loop over tokens in one process, however unevenly tokens choose."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from parc.runtime.experts import combine, dispatch, dispatch_among, dispatch_local
from parc.runtime.grouped import RowCounts, grouped_add, grouped_linear, grouped_matmul, grouped_mul

EXPERTS, CHOICES, TOKENS, H = 4, 2, 6, 3  # tokens of each rank
ROUNDING = 1e-12  # float64, sums of a few dozen terms of order one


def routing(kind: str, tokens: int) -> Tensor:
    """Indices (tokens, K): to whom the tokens of all ranks go."""
    if kind == "one expert gets all":
        return torch.tensor([2, 3]).repeat(tokens, 1)
    if kind == "the first rank's experts get nothing":
        return torch.tensor([[2, 3], [3, 2]]).repeat(tokens // 2, 1)
    scores = torch.rand(tokens, EXPERTS, generator=torch.Generator().manual_seed(5))
    return scores.topk(CHOICES).indices


KINDS = ("uneven", "one expert gets all", "the first rank's experts get nothing")


def inputs(ranks: int) -> dict[str, Tensor]:
    """Tokens, weights, experts' matrices and biases, and the gradient of the result; of all ranks."""
    generator = torch.Generator().manual_seed(1)
    shapes = {
        "tokens": (ranks * TOKENS, H),
        "weights": (ranks * TOKENS, CHOICES),
        "matrix": (EXPERTS, H, H),
        "bias": (EXPERTS, H),
        "gradient": (ranks * TOKENS, H),
    }
    return {
        name: torch.randn(shape, dtype=torch.float64, generator=generator) for name, shape in shapes.items()
    }


def expected(kind: str, ranks: int) -> dict[str, Tensor]:
    """The result and the gradients, token by token and choice by choice."""
    given = inputs(ranks)
    gradient = given.pop("gradient")
    leaves = {name: tensor.requires_grad_() for name, tensor in given.items()}
    out = []
    for token, chosen in enumerate(routing(kind, ranks * TOKENS).tolist()):
        made = [leaves["matrix"][e] @ leaves["tokens"][token].tanh() + leaves["bias"][e] for e in chosen]
        out.append(sum(leaves["weights"][token, place] * row for place, row in enumerate(made)))
    result = torch.stack([row for row in out if isinstance(row, Tensor)])
    result.backward(gradient)
    return {"out": result.detach()} | {
        name: leaf.grad for name, leaf in leaves.items() if leaf.grad is not None
    }


def run(rows: Tensor, counts: RowCounts, leaves: dict[str, Tensor]) -> Tensor:
    return grouped_add(grouped_linear(rows.tanh(), leaves["matrix"], counts), leaves["bias"], counts)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("world", [1, 2, 4])
def test_tokens_travel_to_their_experts_and_back(ranks, kind: str, world: int) -> None:
    def work() -> dict[str, Tensor]:
        rank, mine = dist.get_rank(), EXPERTS // world
        own, here = slice(rank * TOKENS, (rank + 1) * TOKENS), slice(rank * mine, (rank + 1) * mine)
        given = inputs(world)
        cut = {"tokens": own, "weights": own, "matrix": here, "bias": here}
        leaves = {name: given[name][part].clone().requires_grad_() for name, part in cut.items()}
        indices = routing(kind, world * TOKENS)[own]
        rows, counts, route = dispatch(leaves["tokens"], indices, EXPERTS, dist.group.WORLD)
        assert len(counts.numbers) == mine
        assert sum(counts.numbers) == len(rows)
        out = combine(run(rows, counts, leaves), leaves["weights"], route)
        out.backward(given["gradient"][own])
        grads = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
        return {"out": out.detach(), "load": route.tokens_per_expert, **grads}

    results, wanted = ranks(world, work), expected(kind, world)
    for name, value in wanted.items():
        close(torch.cat([result[name] for result in results]), value)
    load = sum(result["load"] for result in results)
    assert isinstance(load, Tensor)
    assert (
        load.tolist() == torch.bincount(routing(kind, world * TOKENS).flatten(), minlength=EXPERTS).tolist()
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("outside", [False, True])
def test_tokens_travel_among_a_part_of_the_ranks_with_experts(ranks, kind: str, outside: bool) -> None:
    """Two ranks have tokens of their own, beside each of them another one that has the same."""

    def work() -> dict[str, Tensor]:
        axes = {"tp": 2, "dp": 2} if outside else {"dp": 2, "tp": 2}
        mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=tuple(axes))
        place, expert = mesh.get_local_rank("dp"), dist.get_rank()
        own, here = slice(place * TOKENS, (place + 1) * TOKENS), slice(expert, expert + 1)
        given = inputs(2)
        cut = {"tokens": own, "weights": own, "matrix": here, "bias": here}
        leaves = {name: given[name][part].clone().requires_grad_() for name, part in cut.items()}
        indices, group = routing(kind, 2 * TOKENS)[own], mesh.get_group("dp")
        rows, counts, route = dispatch_among(leaves["tokens"], indices, EXPERTS, group, dist.group.WORLD)
        out = combine(run(rows, counts, leaves), leaves["weights"], route)
        out.backward(given["gradient"][own])  # of a partial sum, the gradient is whole on every rank
        grads = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
        chosen = torch.bincount(indices.flatten(), minlength=EXPERTS)
        return {"out": out.detach(), "right": route.tokens_per_expert == chosen, **grads}

    results, wanted = ranks(4, work), expected(kind, 2)
    order = [0, 2, 1, 3] if outside else range(4)  # the ranks with the same tokens beside each other
    for name in ("out", "tokens", "weights"):
        terms = torch.stack([results[rank][name] for rank in order]).unflatten(0, (2, 2))
        close(terms.sum(1).flatten(0, 1), wanted[name])
    for name in ("matrix", "bias"):
        close(torch.cat([result[name] for result in results]), wanted[name])
    assert all(result["right"].all() for result in results)


@pytest.mark.parametrize("kind", KINDS)
def test_where_every_rank_holds_the_tokens_results_are_terms_of_a_sum(ranks, kind: str) -> None:
    world = 2

    def work() -> dict[str, Tensor]:
        rank, mine = dist.get_rank(), EXPERTS // world
        here = slice(rank * mine, (rank + 1) * mine)
        given = inputs(1)
        leaves = {name: given[name].clone().requires_grad_() for name in ("tokens", "weights")}
        leaves |= {name: given[name][here].clone().requires_grad_() for name in ("matrix", "bias")}
        indices = routing(kind, TOKENS)
        rows, counts, route = dispatch_local(leaves["tokens"], indices, EXPERTS, dist.group.WORLD)
        out = combine(run(rows, counts, leaves), leaves["weights"], route)
        out.backward(given["gradient"])  # of a partial sum, the gradient is whole on every rank
        grads = {name: torch.zeros_like(t) if t.grad is None else t.grad for name, t in leaves.items()}
        return {"out": out.detach(), **grads}

    results, wanted = ranks(world, work), expected(kind, 1)
    for name in ("out", "tokens", "weights"):
        close(torch.stack([result[name] for result in results]).sum(0), wanted[name])
    for name in ("matrix", "bias"):
        close(torch.cat([result[name] for result in results]), wanted[name])


@pytest.mark.parametrize("counts", [[3, 2, 1, 4], [0, 0, 10, 0], [0, 0, 0, 0]])
def test_grouped_operators_act_expert_by_expert(counts: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    rows, matrix, vector = (
        torch.randn(shape, dtype=torch.float64, generator=generator)
        for shape in ((sum(counts), 3), (4, 3, 5), (4, 3))
    )
    parts = rows.split(counts)
    by_hand = {
        grouped_matmul: [part @ matrix[e] for e, part in enumerate(parts)],
        grouped_add: [part + vector[e] for e, part in enumerate(parts)],
        grouped_mul: [part * vector[e] for e, part in enumerate(parts)],
    }
    for operator, each in by_hand.items():
        weight = matrix if operator is grouped_matmul else vector
        close(operator(rows, weight, RowCounts(torch.tensor(counts))), torch.cat(each))
    turned = matrix.transpose(1, 2)
    close(grouped_linear(rows, turned, RowCounts(torch.tensor(counts))), torch.cat(by_hand[grouped_matmul]))
