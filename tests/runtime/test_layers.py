"""Sharded layers compute what nn.Linear and nn.Embedding compute, forward and backward."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from parc.runtime.collectives import I, P, R, S, all_gather, all_reduce, convert
from parc.runtime.grouped import RowCounts
from parc.runtime.layers import ColumnLinear, GroupedLinear, RowLinear, VocabEmbedding

INNER, OUTER, ROWS = 12, 24, 5
ROUNDING = 1e-13  # float64, sums of a few dozen terms of order one
Found = dict[str, Tensor]


@pytest.fixture(autouse=True)
def in_float64() -> None:
    torch.set_default_dtype(torch.float64)


def draw(*shape: int) -> Tensor:
    """The same values on every rank."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def share(whole: Tensor, dim: int, blocks: int = 1) -> Tensor:
    """This rank's part of a dim in blocks."""
    parts = [block.chunk(dist.get_world_size(), dim)[dist.get_rank()] for block in whole.chunk(blocks, dim)]
    return torch.cat(parts, dim)


def fill(module: nn.Module, **values: Tensor) -> None:
    module.load_state_dict(values)


def check(found: Found, expected: Found) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=ROUNDING, atol=ROUNDING, msg=lambda text: text)


@pytest.mark.parametrize(("ranks_count", "blocks"), [(2, 1), (3, 1), (4, 3), (2, 2)])
@pytest.mark.parametrize("bias", [False, True])
def test_a_column_layer_is_a_share_of_the_outputs(ranks, ranks_count: int, blocks: int, bias: bool) -> None:
    def work() -> tuple[Found, Found]:
        group = dist.group.WORLD
        whole, mine = (
            nn.Linear(INNER, OUTER, bias=bias),
            ColumnLinear(INNER, OUTER, group, bias=bias, blocks=blocks),
        )
        values = {"weight": draw(OUTER, INNER)} | ({"bias": draw(OUTER)} if bias else {})
        fill(whole, **values)
        fill(mine, **{name: share(value, 0, blocks) for name, value in values.items()})
        x, y = (draw(ROWS, INNER).requires_grad_() for _ in range(2))
        wanted = whole(x)
        wanted.backward(draw(ROWS, OUTER))
        made = mine(convert(y, group, src=I, dst=R))
        made.backward(share(draw(ROWS, OUTER), -1, blocks))
        found = {
            "y": all_gather(made, group, src=S(-1, blocks), dst=I),
            "x": y.grad,
            **{name: tensor.grad for name, tensor in mine.named_parameters()},
        }
        expected = {
            "y": wanted,
            "x": x.grad,
            **{name: share(tensor.grad, 0, blocks) for name, tensor in whole.named_parameters()},
        }
        return detach(found), detach(expected)

    for found, expected in ranks(ranks_count, work):
        assert found.keys() == expected.keys()
        check(found, expected)


@pytest.mark.parametrize("ranks_count", [2, 3, 4])
@pytest.mark.parametrize("bias", [False, True])
def test_a_row_layer_is_a_term_of_the_outputs_or_their_sum_with_the_bias(
    ranks, ranks_count: int, bias: bool
) -> None:
    def work() -> tuple[Found, Found]:
        group = dist.group.WORLD
        dst = I if bias else P
        whole, mine = nn.Linear(INNER, OUTER, bias=bias), RowLinear(INNER, OUTER, group, dst=dst, bias=bias)
        values = {"weight": draw(OUTER, INNER)} | ({"bias": draw(OUTER)} if bias else {})
        fill(whole, **values)
        fill(mine, **{**values, "weight": share(values["weight"], 1)})
        x, y = (draw(ROWS, INNER).requires_grad_() for _ in range(2))
        wanted = whole(x)
        wanted.backward(draw(ROWS, OUTER))
        made = mine(convert(y, group, src=I, dst=S(-1)))
        made = made if bias else all_reduce(made, group, dst=I)
        made.backward(draw(ROWS, OUTER))
        found = {"y": made, "x": y.grad, **{name: tensor.grad for name, tensor in mine.named_parameters()}}
        expected = {"y": wanted, "x": x.grad, "weight": share(whole.weight.grad, 1)}
        return detach(found), detach(expected | ({"bias": whole.bias.grad} if bias else {}))

    for found, expected in ranks(ranks_count, work):
        assert found.keys() == expected.keys()
        check(found, expected)


def test_a_row_layer_and_an_embedding_may_keep_a_share_of_their_sums(ranks) -> None:
    def work() -> tuple[Found, Found]:
        group = dist.group.WORLD
        at, linear = S(0), RowLinear(INNER, OUTER, group, dst=S(0), bias=True)
        table = VocabEmbedding(OUTER, INNER, group, dst=at)
        whole, rows = nn.Linear(INNER, OUTER), nn.Embedding(OUTER, INNER)
        fill(whole, weight=draw(OUTER, INNER), bias=draw(OUTER))
        fill(linear, weight=share(draw(OUTER, INNER), 1), bias=draw(OUTER))
        fill(rows, weight=draw(OUTER, INNER))
        fill(table, weight=share(draw(OUTER, INNER), 0))
        x, indices = draw(4, INNER), torch.tensor([3, 0, OUTER - 1, 5])
        found = {"y": linear(share(x, 1)), "rows": table(indices)}
        return detach(found), detach({"y": share(whole(x), 0), "rows": share(rows(indices), 0)})

    for found, expected in ranks(2, work):
        check(found, expected)


@pytest.mark.parametrize("bias", [False, True])
def test_a_grouped_layer_is_a_linear_layer_for_each_expert(bias: bool) -> None:
    counts = [3, 0, 2]
    each = [nn.Linear(INNER, OUTER, bias=bias) for _ in counts]
    mine = GroupedLinear(len(counts), INNER, OUTER, bias=bias)
    names = [name for name, _ in mine.named_parameters()]
    fill(mine, **{name: torch.stack([getattr(layer, name) for layer in each]) for name in names})
    rows = draw(ROWS, INNER)
    wanted = torch.cat([layer(part) for layer, part in zip(each, rows.split(counts), strict=True)])
    made = mine(rows, RowCounts(torch.tensor(counts)))
    for out in (wanted, made):
        out.backward(draw(ROWS, OUTER))
    grads = {n: [torch.zeros(1) if (g := getattr(m, n).grad) is None else g for m in each] for n in names}
    whole = {n: torch.stack(torch.broadcast_tensors(*parts)) for n, parts in grads.items()}
    found = {"y": made} | {name: tensor.grad for name, tensor in mine.named_parameters()}
    check(detach(found), detach({"y": wanted} | whole))


def test_a_grouped_layer_holds_its_share_of_the_experts_and_of_their_features(ranks) -> None:
    def work() -> list[tuple[int, ...]]:
        group = dist.group.WORLD
        layers = [
            GroupedLinear(4, 6, 8, bias=True, experts=group),
            GroupedLinear(4, 6, 8, bias=True, columns=group),
            GroupedLinear(4, 6, 8, rows=group),
        ]
        return [tuple(tensor.shape) for layer in layers for tensor in layer.parameters()]

    assert ranks(2, work) == [[(2, 8, 6), (2, 8), (4, 4, 6), (4, 4), (4, 8, 3)]] * 2


@pytest.mark.parametrize("ranks_count", [2, 3, 4])
@pytest.mark.parametrize("padding_idx", [None, 7, -1])
def test_a_sharded_embedding_looks_up_what_a_whole_one_does(ranks, ranks_count: int, padding_idx) -> None:
    def work() -> tuple[Found, Found]:
        group = dist.group.WORLD
        whole = nn.Embedding(OUTER, INNER, padding_idx=padding_idx)
        mine = VocabEmbedding(OUTER, INNER, group, padding_idx=padding_idx)
        fill(whole, weight=draw(OUTER, INNER))
        fill(mine, weight=share(draw(OUTER, INNER), 0))
        indices = torch.tensor([[0, 7, OUTER - 1], [7, 13, 7]])
        wanted, made = whole(indices), all_reduce(mine(indices), group, dst=I)
        for each in (wanted, made):
            each.backward(draw(2, 3, INNER))
        found = {"y": made, "weight": mine.weight.grad}
        return detach(found), detach({"y": wanted, "weight": share(whole.weight.grad, 0)})

    for found, expected in ranks(ranks_count, work):
        check(found, expected)


def detach(values: dict[str, Tensor | None]) -> Found:
    return {name: value.detach().clone() for name, value in values.items() if value is not None}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda group: ColumnLinear(4, 9, group), "9 output features do not divide over 2 ranks"),
        (
            lambda group: ColumnLinear(4, 6, group, blocks=2),
            "6 output features in 2 blocks do not divide over 2 ranks",
        ),
        (lambda group: RowLinear(9, 4, group), "9 input features do not divide over 2 ranks"),
        (
            lambda group: RowLinear(8, 4, group, bias=True),
            "a term of a sum has no bias: every rank would add it",
        ),
        (lambda group: GroupedLinear(3, 4, 4, experts=group), "3 experts do not divide over 2 ranks"),
        (lambda group: VocabEmbedding(9, 4, group), "9 rows of an embedding do not divide over 2 ranks"),
    ],
)
def test_layers_that_cannot_be_are_refused(
    ranks, make: Callable[[dist.ProcessGroup | None], nn.Module], message: str
) -> None:
    def work() -> str:
        try:
            make(dist.group.WORLD)
        except ValueError as error:
            return str(error)
        return ""

    assert ranks(2, work) == [message] * 2
