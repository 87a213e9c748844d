"""Every rule says the truth: what ranks compute, and the gradients that they get, are those of one device.

For every operator, every combination of states of its operands is tried on simulated ranks. A rule may
refuse; what it accepts must be right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor

from parc.ir.states import FREE, I, P, R, S, State
from parc.shard.rules import Conflict
from parc.shard.rules.dims import Chunked
from tests.shard.simulate import Case, Sample, cases, decide_case, verify

aten = torch.ops.aten


def floats(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def positive(*shape: int) -> Tensor:
    return floats(*shape).abs() + 0.5


def whole_numbers(high: int, *shape: int) -> Tensor:
    return torch.randint(high, shape)


def pointwise_samples(n: int) -> Iterator[Sample]:
    x, y, row, one = floats(2 * n, 3, n), floats(2 * n, 3, n), floats(n), floats()
    tokens, column = floats(2, n, 4), floats(2, n, 1)
    like = partial(Sample, batch=2, length=n)
    yield Sample("add", aten.add.Tensor, (x, y))
    yield Sample("add with alpha", aten.add.Tensor, (x, y), {"alpha": 2})
    yield Sample("add a row", aten.add.Tensor, (x, row))
    yield like("add tokens", aten.add.Tensor, (tokens, column))
    yield like("add rows to tokens", aten.add.Tensor, (floats(1, 1, 2 * n, 4), floats(2 * n, 4)))
    yield like("add more dims than tokens", aten.add.Tensor, (floats(2 * n, 4), floats(3, 1, 4)))
    yield Sample("add a number", aten.add.Tensor, (x, 1e-6))
    yield Sample("add scalars", aten.add.Tensor, (one, floats()))
    yield Sample("sub", aten.sub.Tensor, (x, y), {"alpha": 3})
    yield Sample("sub a number", aten.sub.Tensor, (x, 2))
    yield Sample("rsub", aten.rsub.Scalar, (x, 1.0))
    yield Sample("neg", aten.neg.default, (x,))
    yield Sample("clone", aten.clone.default, (x,))
    yield Sample("detach", aten.detach.default, (x,))
    yield Sample("to float32", aten.to.dtype, (x.round(), torch.float64))
    yield Sample("to whole numbers", aten.to.dtype, (x * 5, torch.int64))
    yield Sample("_to_copy whole numbers", aten._to_copy.default, (x * 5,), {"dtype": torch.int64})
    yield Sample("to bool", aten.to.dtype, (x.round(), torch.bool))
    yield Sample("mul", aten.mul.Tensor, (x, y))
    yield Sample("mul by a number", aten.mul.Tensor, (x, 0.5))
    yield Sample("mul by a row", aten.mul.Tensor, (x, row))
    yield like("mul tokens", aten.mul.Tensor, (tokens, column))
    yield Sample("mul of scalars", aten.mul.Tensor, (one, floats()))
    yield Sample("div", aten.div.Tensor, (x, positive(2 * n, 3, n)))
    yield Sample("div by a number", aten.div.Tensor, (x, 3.0))
    yield Sample("div to a whole number", aten.div.Tensor_mode, (x, 0.3), {"rounding_mode": "floor"})
    yield Sample("div of two, cut", aten.div.Tensor_mode, (x, positive(n)), {"rounding_mode": "trunc"})
    yield Sample("div by scalar", aten.div.Tensor, (x, positive()))
    for name in ("silu", "gelu", "relu", "sigmoid", "tanh", "exp", "square", "abs", "bitwise_not"):
        yield like(name, getattr(aten, name).default, (tokens > 0 if "bitwise" in name else tokens,))
    yield Sample("pow", aten.pow.Tensor_Scalar, (x, 2))
    yield like("celu", aten.celu.default, (tokens, 0.5))
    yield Sample("lerp", aten.lerp.Scalar, (x, torch.sin(x), 0.3))
    yield Sample("addcmul", aten.addcmul.default, (x, x, x), {"value": 0.1})
    yield Sample("clamp", aten.clamp.default, (x, -0.5), {"max": 0.5})
    yield Sample("clamp_min", aten.clamp_min.default, (x, 1e-9))
    yield Sample("ge", aten.ge.Tensor, (x, row))
    yield Sample("eq a number", aten.eq.Scalar, (whole_numbers(3, 2 * n, 3), 1))
    yield Sample("maximum", aten.maximum.default, (x, row))
    yield Sample("where", aten.where.self, (x > 0, x, floats(2 * n, 1, 1)))
    yield Sample("masked_fill", aten.masked_fill.Scalar, (x, y > 0, float("-inf")))
    yield Sample("floor_divide", aten.floor_divide.default, (whole_numbers(9, 2 * n), 2))
    yield Sample("type_as", aten.type_as.default, (x, row))


def dim_samples(n: int) -> Iterator[Sample]:
    x, flat, tokens = floats(2 * n, 3, 4 * n), floats(2 * n, 4 * n), floats(2, n, 2 * n)
    like = partial(Sample, batch=2, length=n)
    yield Sample("softmax", aten.softmax.int, (x, -1))
    yield like("log_softmax", aten.log_softmax.int, (tokens, 1))
    yield Sample("cumsum", aten.cumsum.default, (x, 0))
    yield Sample("sort", aten.sort.default, (flat, 0, True))
    yield Sample("argsort", aten.argsort.default, (flat, 0, True))
    yield Sample("argsort of the last", aten.argsort.default, (flat,))
    yield Sample("argsort stable", aten.argsort.stable, (flat,), {"stable": True, "dim": 0})
    yield Sample("glu", aten.glu.default, (flat,))
    yield like("topk", aten.topk.default, (tokens, 2))
    yield Sample("topk of rows", aten.topk.default, (flat, 2, 0))
    yield like("layer_norm", aten.layer_norm.default, (tokens, [2 * n], floats(2 * n), floats(2 * n)))
    yield Sample("rms_norm", aten.rms_norm.default, (flat, [4 * n], floats(4 * n)))
    yield Sample("layer_norm of two dims", aten.layer_norm.default, (x, [3, 4 * n]))
    yield Sample("slice", aten.slice.Tensor, (x, 2, 0, 4))
    yield Sample("slice of all", aten.slice.Tensor, (x, 2, 0, 2**63 - 1))
    yield Sample("slice with a step", aten.slice.Tensor, (x, 0, 0, 2**63 - 1, 2))
    yield Sample("index_select", aten.index_select.default, (flat, 1, torch.randperm(4 * n)))
    yield Sample("index_select some", aten.index_select.default, (flat, 0, whole_numbers(2 * n, n)))
    yield Sample("pad", aten.pad.default, (x, [1, 2, 0, 0, 0, 1]))
    yield Sample("pad with a value", aten.pad.default, (x, [0, 1], "constant", 2.0))
    yield Sample("pad by reflection", aten.pad.default, (x, [1, 1], "reflect"))
    yield Sample("tril", aten.tril.default, (flat,))
    yield Sample("triu", aten.triu.default, (x, 1))
    yield Sample("flip", aten.flip.default, (flat, [1]))
    yield Sample("flip two", aten.flip.default, (x, [0, 1]))
    yield Sample("roll", aten.roll.default, (flat, [1], [0]))
    yield Sample("roll flattened", aten.roll.default, (flat, [1]))
    yield Sample("select", aten.select.int, (x, 1, 2))
    yield Sample("select of the first", aten.select.int, (x, 0, 0))
    yield Sample("unbind", aten.unbind.int, (x, 1))
    yield Sample("unbind of the first", aten.unbind.int, (floats(2 * n, 4),))
    yield Sample("chunk", aten.chunk.default, (x, 2, -1))
    yield Sample("chunk of the first", aten.chunk.default, (x, 2))
    yield Sample("split", aten.split.Tensor, (x, 2 * n, 2))
    yield Sample("split unevenly", aten.split_with_sizes.default, (x, [2 * n, n, n], 2))
    yield Sample("cat", aten.cat.default, ([flat, floats(2 * n, 4 * n)], 1))
    yield Sample("cat of two sizes", aten.cat.default, ([flat, floats(n, 4 * n)],))
    yield like("cat tokens", aten.cat.default, ([tokens, floats(2, n, n)], -1))
    yield Sample("stack", aten.stack.default, ([flat, floats(2 * n, 4 * n)], -1))
    yield Sample("stack in front", aten.stack.default, ([flat, floats(2 * n, 4 * n)],))
    at = whole_numbers(4 * n, 2 * n, 3)
    yield Sample("gather", aten.gather.default, (flat, 1, at))
    yield Sample("gather fewer rows", aten.gather.default, (flat, 1, at[:n]))
    rows = torch.randperm(4 * n)[:3].repeat(2 * n, 1)
    yield Sample("scatter", aten.scatter.src, (flat, 1, rows, floats(2 * n, 3)))
    yield Sample("scatter a number", aten.scatter.value, (flat, 1, rows, 1.5))
    yield Sample("scatter_add", aten.scatter_add.default, (flat, 1, at, floats(2 * n, 3)))
    yield Sample(
        "scatter_add of counts", aten.scatter_add.default, (floats(3), 0, at[:, 0] % 3, floats(2 * n))
    )
    yield Sample("view_as_complex", aten.view_as_complex.default, (floats(2 * n, 3, 2),))
    yield Sample("view_as_real", aten.view_as_real.default, (torch.view_as_complex(floats(2 * n, 3, 2)),))
    yield Sample("conv1d", aten.conv1d.default, (x, floats(4, 3, 2), floats(4)))
    yield Sample("conv1d of one sample", aten.conv1d.default, (flat, floats(4, 2 * n, 2), floats(4)))
    yield Sample("group_norm", aten.group_norm.default, (floats(2 * n, 4, 2 * n), 2, floats(4), floats(4)))


def reduce_samples(n: int) -> Iterator[Sample]:
    x, tokens = floats(2 * n, 3, 2 * n), floats(2, n, 2 * n)
    yield Sample("sum", aten.sum.default, (x,))
    yield Sample("sum of dims", aten.sum.dim_IntList, (x, [0, 1]))
    yield Sample("sum kept", aten.sum.dim_IntList, (x, [-1], True))
    yield Sample(
        "sum to whole numbers", aten.sum.dim_IntList, (x * 5, [1]), {"dtype": torch.int64}, grad=False
    )
    yield Sample("mean", aten.mean.default, (x,))
    yield Sample("mean of dims", aten.mean.dim, (tokens, [0, 1]), batch=2, length=n)
    yield Sample("mean kept", aten.mean.dim, (x, [2], True))
    yield Sample("max", aten.max.dim, (x, -1))
    yield Sample("max of all", aten.max.default, (x,))
    yield Sample("maximum of two", aten.max.other, (x, x + 1))
    yield Sample("amax", aten.amax.default, (tokens, [1], True), batch=2, length=n)
    yield Sample("argmax", aten.argmax.default, (x, 0))
    yield Sample("logsumexp", aten.logsumexp.default, (x, [-1]))
    yield Sample("any", aten.any.dim, (x > 2, 1))
    yield Sample("var", aten.var.correction, (x, [0]), {"correction": 0, "keepdim": True})
    yield Sample("var of a dim", aten.var.dim, (x, [1], False))
    yield Sample("var of all", aten.var.default, (x, False))
    yield Sample("std", aten.std.dim, (x, [0], True, True))
    yield Sample("norm", aten.linalg_vector_norm.default, (x, 2, [-1], True))
    yield Sample("norm of two dims", aten.norm.ScalarOpt_dim, (x, 2, [1, 2]))
    yield Sample("prod", aten.prod.dim_int, (x, 1))


def view_samples(n: int) -> Iterator[Sample]:
    x = floats(2 * n, 3, 4 * n)
    tokens = floats(2, 2 * n, 12 * n)
    yield Sample("flatten", aten.flatten.using_ints, (x, 0, 1))
    yield Sample("flatten the last", aten.flatten.using_ints, (x, 1, 2))
    yield Sample("reshape", aten.reshape.default, (x, [-1]))
    yield Sample("view as tokens", aten.view.default, (floats(4 * n, 6), [2, 2 * n, 6]))
    yield Sample("view as heads", aten.view.default, (tokens, [2, 2 * n, 2 * n, 6]))
    yield Sample("view as heads, one unsaid", aten.view.default, (tokens, [2, 2 * n, 3, -1, 2]))
    yield Sample("view across", aten.view.default, (floats(4, 6 * n), [3, 8 * n]))
    yield Sample("view of rows", aten.view.default, (floats(6 * n, 4), [2 * n, 3, 2, 2]))
    yield Sample("view with ones", aten.view.default, (x, [1, 2 * n, 1, 12 * n]))
    yield Sample("view regrouped", aten.view.default, (floats(2 * n, 6, 5), [4 * n, 3, 5]))
    yield Sample("unflatten", aten.unflatten.int, (tokens, -1, [3, 4 * n]))
    yield Sample("unflatten in many", aten.unflatten.int, (tokens, 2, [4 * n, 3]))
    yield Sample("squeeze", aten.squeeze.default, (floats(n, 1, 3),))
    yield Sample("squeeze of a dim", aten.squeeze.dim, (floats(n, 1, 3), 1))
    yield Sample("squeeze of a dim that is not one", aten.squeeze.dim, (floats(n, 1, 3), 0))
    yield Sample("unsqueeze", aten.unsqueeze.default, (x, 1))
    yield Sample("unsqueeze at the end", aten.unsqueeze.default, (x, -1))
    yield Sample("view_as", aten.view_as.default, (x, floats(6 * n, 4 * n)))
    yield Sample("view as bits", aten.view.dtype, (whole_numbers(9, 2 * n, 2 * n), torch.int32))
    yield Sample("transpose", aten.transpose.int, (x, 0, -1))
    yield Sample("t", aten.t.default, (floats(n, 2 * n),))
    yield Sample("permute", aten.permute.default, (x, [2, 0, 1]))
    yield Sample("movedim", aten.movedim.int, (floats(2 * n, 3, n, 2), 0, 2))
    yield Sample("movedim of two", aten.movedim.intlist, (floats(2 * n, 3, n, 2), [0, 1], [-1, 0]))
    yield Sample("expand", aten.expand.default, (floats(2 * n, 1, n), [-1, 5, -1]))
    yield Sample("expand in front", aten.expand.default, (floats(2 * n, 1), [4, 2 * n, 3 * n]))
    yield Sample("expand_as", aten.expand_as.default, (floats(2 * n, 1, n), floats(2 * n, 2 * n, n)))
    yield Sample("expand_as in front", aten.expand_as.default, (floats(1, n), floats(2, 3 * n, n)))


def product_samples(n: int) -> Iterator[Sample]:
    x, tokens, weight = floats(2 * n, 2 * n), floats(2, n, 2 * n), floats(n, 2 * n)
    like = partial(Sample, batch=2, length=n)
    yield like("linear", aten.linear.default, (tokens, weight))
    yield like("linear with a parameter", aten.linear.default, (tokens, weight), parameters=(1,))
    yield Sample("linear of a vector", aten.linear.default, (floats(2 * n), weight))
    yield Sample("linear to one number", aten.linear.default, (x, floats(2 * n)))
    yield Sample("matmul", aten.matmul.default, (x, floats(2 * n, 2 * n)))
    yield Sample("matmul with a parameter", aten.matmul.default, (x, floats(2 * n, n)), parameters=(1,))
    yield Sample("matmul of many", aten.matmul.default, (floats(2 * n, 3, n), floats(2 * n, n, 2)))
    yield Sample("matmul of many by one", aten.matmul.default, (floats(2 * n, 3, n), floats(n, n)))
    yield Sample("matmul broadcast", aten.matmul.default, (floats(1, 3, n), floats(2 * n, n, 2)))
    yield Sample(
        "matmul broadcast back", aten.matmul.default, (floats(n, 2, 3, 2), floats(1, 2, n)[:, :, :3])
    )
    yield Sample("matmul with a vector", aten.matmul.default, (floats(n, 3, n), floats(n)))
    yield Sample("matmul of a vector", aten.matmul.default, (floats(n), floats(n, 2 * n)))
    yield Sample("matmul of two vectors", aten.matmul.default, (floats(n), floats(n)))
    yield Sample(
        "matmul with many parameters",
        aten.matmul.default,
        (floats(n, n, 2), floats(n, 2, n)),
        parameters=(1,),
    )
    yield Sample("bmm", aten.bmm.default, (floats(n, 2, n), floats(n, n, 3)))
    yield Sample("einsum", aten.einsum.default, ("bld,fd->blf", [tokens, weight]))
    yield Sample(
        "einsum of heads", aten.einsum.default, ("bhld,bhmd->bhlm", [floats(2, n, 3, 2), floats(2, n, 3, 2)])
    )
    yield Sample("einsum that adds up", aten.einsum.default, ("ab,bc->c", [x, x + 1]))
    yield Sample("einsum of a diagonal", aten.einsum.default, ("aa,ab->b", [x, x + 1]))
    yield Sample("einsum with an ellipsis", aten.einsum.default, ("...d,fd->...f", [tokens, weight]))
    yield Sample("einsum of one", aten.einsum.default, ("ab->ba", [x]))
    q, k, v = (floats(n, 2 * n, 3, 2) for _ in range(3))
    attention = aten.scaled_dot_product_attention.default
    yield Sample("attention", attention, (q, k, v, None, 0.0, True))
    mask = torch.rand(3, 3) > 0.4
    yield Sample("attention of few heads", attention, (q, k[:, :n], v[:, :n]), {"enable_gqa": True})
    yield Sample(
        "attention with a bias",
        attention,
        (floats(2, n, 3, n), floats(2, n, 3, n), floats(2, n, 3, n), floats(n, 3, 3)),
    )
    yield Sample("attention with a mask", attention, (q, k, v, mask | torch.eye(3, dtype=torch.bool)))


def lookup_samples(n: int) -> Iterator[Sample]:
    table, at = floats(4 * n, 2 * n), whole_numbers(4 * n, 2, 2 * n)
    at[0, 0] = 3
    like = partial(Sample, batch=2, length=2 * n)
    yield like("embedding", aten.embedding.default, (table, at))
    yield like("embedding with a parameter", aten.embedding.default, (table, at), parameters=(0,))
    yield Sample("embedding with padding", aten.embedding.default, (table, at, 3))
    yield Sample("one_hot", aten.one_hot.default, (whole_numbers(5, 2 * n, n), 5))
    logits, labels = floats(4 * n, 5), whole_numbers(5, 4 * n)
    labels[1] = -100
    loss = aten.cross_entropy_loss.default
    yield like("cross_entropy", loss, (logits, labels))
    yield like("cross_entropy added up", loss, (logits, labels, None, 2))
    yield like("cross_entropy each", loss, (logits, labels.clamp(min=0), None, 0, 1))
    yield like("cross_entropy smoothed", loss, (logits, labels), {"label_smoothing": 0.1})
    yield like("cross_entropy weighted", loss, (logits, labels, positive(5)))
    yield Sample("zeros_like", aten.zeros_like.default, (floats(n, 3),))
    yield Sample("ones_like", aten.ones_like.default, (floats(n, 3),))
    yield Sample("new_zeros", aten.new_zeros.default, (floats(n, 3), [2, n]))
    yield Sample("new_ones", aten.new_ones.default, (floats(n), [n]))


GROUPS: tuple[Callable[[int], Iterator[Sample]], ...] = (
    pointwise_samples,
    dim_samples,
    reduce_samples,
    view_samples,
    product_samples,
    lookup_samples,
)
REFUSED = {
    "maximum of two",
    "view as bits",
    "cross_entropy smoothed",
    "cross_entropy weighted",
}
NAMES = [sample.name for group in GROUPS for sample in group(2)]


def sample_of(name: str, ranks: int) -> Sample:
    torch.manual_seed(sum(map(ord, name)))
    return next(sample for group in GROUPS for sample in group(ranks) if sample.name == name)


@pytest.mark.parametrize("name", NAMES)
def test_what_a_rule_accepts_is_what_one_device_computes(name: str) -> None:
    """Of the many combinations of states a fixed choice; the slow test has them all."""
    for ranks, most in ((2, 50), (3, 12), (4, 6)):
        every = list(cases(sample_of(name, ranks), ranks))
        chosen = every if len(every) <= most else [every[0], *Random(0).sample(every, most)]
        accepted = [verify(case) for case in chosen]
        assert any(accepted) == (name not in REFUSED)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("name", NAMES)
def test_everything_that_a_rule_accepts_is_what_one_device_computes(name: str, ranks: int) -> None:
    for case in cases(sample_of(name, ranks), ranks):
        verify(case)


def decision(name: str, *states: State, ranks: int = 2, **flags: bool) -> tuple[list[State], list[State]]:
    decided = decide_case(Case(sample_of(name, ranks), ranks, states, **flags))
    return list(decided.wanted), list(decided.results)


def test_a_sum_of_partial_sums_is_one_and_needs_no_reduction() -> None:
    assert decision("add", P, P) == ([P, P], [P])


def test_a_number_is_not_added_to_a_partial_sum() -> None:
    """x + 1e-6 on each rank would add it once a rank."""
    assert decision("add a number", P) == ([I], [I])


def test_a_whole_value_is_added_to_a_partial_sum_once_that_is_reduced() -> None:
    assert decision("add", P, I) == ([I, I], [I])


def test_inside_an_expert_a_bias_is_added_on_one_rank_instead() -> None:
    assert decision("add", P, I, lazy=True) == ([P, P], [P])


def test_of_a_product_of_partial_sums_the_one_without_gradient_is_reduced() -> None:
    mean_load_times_mean_probability = Case(sample_of("mul", 2), 2, (P, P), constant=0)
    assert list(decide_case(mean_load_times_mean_probability).wanted) == [R, P]


def test_a_partial_sum_may_be_divided_but_nothing_is_divided_by_one() -> None:
    assert decision("div", P, I) == ([P, R], [P])
    assert decision("div", I, P) == ([I, I], [I])


@pytest.mark.parametrize(
    "name", ["div to a whole number", "to whole numbers", "_to_copy whole numbers", "to bool", "relu", "pow"]
)
def test_what_is_not_linear_reduces_a_partial_sum_first(name: str) -> None:
    assert decision(name, P) == ([I], [I])
    with pytest.raises(Conflict, match="partial sum"):
        decision(name, P, lazy=True)


def test_a_partial_sum_of_tokens_goes_to_its_share_of_the_sequence() -> None:
    assert decision("silu", P, sequence=True) == ([S(1)], [S(1)])
    assert decision("add rows to tokens", I, P, sequence=True) == ([S(2, 2), S(0, 2)], [S(2, 2)])


def test_a_parameter_is_cut_by_column_where_its_product_is_free_and_by_row_where_a_cut_goes_on() -> None:
    assert decision("linear with a parameter", I, FREE) == ([R, S(0)], [S(2)])
    assert decision("linear with a parameter", S(2), FREE) == ([S(2), S(1)], [P])
    assert decision("matmul with a parameter", S(1), FREE) == ([S(1), S(0)], [P])


def test_sharded_tokens_are_gathered_for_a_parameter_cut_by_column() -> None:
    assert decision("linear with a parameter", S(1), S(0)) == ([R, S(0)], [S(2)])


def test_a_cut_of_many_parameters_does_not_gather_what_goes_with_each_of_them() -> None:
    with pytest.raises(Conflict):
        decision("matmul with many parameters", S(1), S(0))


def test_flattening_keeps_a_shard_of_an_inner_dim_as_blocks() -> None:
    assert decision("flatten", S(0)) == ([S(0)], [S(0)])
    assert decision("flatten the last", S(2)) == ([S(2)], [S(1, 3)])
    assert decision("view as heads", S(2)) == ([S(2)], [S(2)])


def test_a_chunk_of_a_plain_shard_asks_for_blocks_and_takes_one_of_them() -> None:
    with pytest.raises(Chunked) as conflict:
        decision("chunk", S(2))
    assert conflict.value.count == 2
    assert decision("chunk", S(2, 2)) == ([S(2, 2)], [S(2), S(2)])


def test_unequal_parts_of_a_shard_are_refused_for_good() -> None:
    """Asking for blocks again and again would never end."""
    with pytest.raises(Conflict, match="unequal") as conflict:
        decision("split unevenly", S(2))
    assert not isinstance(conflict.value, Chunked)


def test_a_mean_over_shards_is_a_partial_sum() -> None:
    assert decision("mean of dims", S(1)) == ([S(1)], [P])
    assert decision("mean of dims", S(2)) == ([S(2)], [S(0)])


def test_a_table_that_the_data_indexes_is_cut_by_rows() -> None:
    assert decision("embedding with a parameter", FREE, I) == ([S(0), I], [P])
    assert decision("embedding with a parameter", I, S(0)) == ([R, S(0)], [S(0)])


def test_a_loss_over_a_share_of_the_tokens_is_a_partial_sum_and_over_a_share_of_the_vocabulary_is_whole() -> (
    None
):
    assert decision("cross_entropy", S(0), S(0)) == ([S(0), S(0)], [P])
    assert decision("cross_entropy each", S(0), S(0)) == ([S(0), S(0)], [S(0)])
    over_the_vocabulary = Sample("loss", aten.cross_entropy_loss.default, (floats(4, 4), whole_numbers(4, 4)))
    assert list(decide_case(Case(over_the_vocabulary, 2, (S(1), I))).results) == [I]


@pytest.mark.parametrize(
    ("name", "state", "why"),
    [
        ("softmax", S(2), "whole of dim 2, of 8"),
        ("topk of rows", S(0), "whole of dim 0"),
        ("cumsum", S(0), "whole of dim 0"),
        ("argsort", S(0), "whole of dim 0"),
        ("max", S(2), "reads the whole of dim 2"),
        ("var of a dim", S(1), "reads the whole of dim 1"),
        ("norm of two dims", S(2), "reads the whole of dim 2"),
        ("flip", S(1), "whole of dim 1"),
        ("roll", S(0), "whole of dim 0"),
        ("tril", S(0), "whole of dim 0"),
        ("select of the first", S(0), "whole of dim 0"),
        ("squeeze of a dim that is not one", S(0), "name the dims of size 1"),
        ("view across", S(1), "cuts across the shards"),
        ("einsum of a diagonal", S(0), "without a diagonal"),
        ("einsum with an ellipsis", S(1), "has no rule"),
        ("view as bits", I, "another dtype"),
    ],
)
def test_what_reads_across_a_shard_is_refused_in_words(name: str, state: State, why: str) -> None:
    rest = [I] * (len(sample_of(name, 1).operands()) - 1)
    ranks = 3 if name == "var of a dim" else 2
    with pytest.raises(Conflict, match=why):
        decision(name, state, *rest, ranks=ranks)


@pytest.mark.parametrize("state", [I, R, S(0), P])
@pytest.mark.parametrize(
    ("target", "args"),
    [
        (aten.dropout.default, (floats(4, 4), 0.1, True)),
        (aten.rand_like.default, (floats(4, 4),)),
        (aten.bernoulli.default, (torch.full((4, 4), 0.5),)),
        (aten.multinomial.default, (positive(4, 4), 1)),
        (aten.normal.Tensor_float, (floats(4, 4),)),
    ],
)
def test_random_numbers_are_refused_however_their_operands_lie(
    target: Any, args: tuple[Any, ...], state: State
) -> None:
    with pytest.raises(Conflict, match="random, and would differ from rank to rank"):
        decide_case(Case(Sample("random", target, args), 2, (state,)))


def test_random_numbers_from_nothing_are_refused() -> None:
    with pytest.raises(Conflict, match="random"):
        decide_case(Case(Sample("randn", aten.randn.default, ([4, 4],)), 2, ()))


def test_attention_with_dropout_is_refused() -> None:
    q = floats(2, 4, 3, 2)
    dropped = Sample("attention", aten.scaled_dot_product_attention.default, (q, q, q, None, 0.1))
    with pytest.raises(Conflict, match="attention` is random"):
        decide_case(Case(dropped, 2, (I, I, I)))


def test_an_argument_that_a_rule_has_not_looked_at_is_refused() -> None:
    index = torch.zeros(4, 4, dtype=torch.long)
    scattered = Sample(
        "scatter", aten.scatter.reduce, (floats(4, 4), 1, index, floats(4, 4)), {"reduce": "add"}
    )
    with pytest.raises(Conflict, match="`scatter` with `reduce = add` has no rule"):
        decide_case(Case(scattered, 2, (S(0), S(0), S(0))))


@pytest.mark.parametrize(
    ("extra", "cure"), [((None, 1, -100, 0.1), "log_softmax"), ((floats(5),), "F.embedding(labels, ")]
)
def test_a_loss_without_a_rule_has_a_cure(extra: tuple[object, ...], cure: str) -> None:
    """Both are built as the cure says in the plan `loss-by-hand`."""
    labels = torch.zeros(4, dtype=torch.long)
    loss = Sample("loss", aten.cross_entropy_loss.default, (floats(4, 5), labels, *extra))
    with pytest.raises(Conflict) as conflict:
        decide_case(Case(loss, 2, (S(0),) * (3 if extra[0] is not None else 2)))
    assert cure in str(conflict.value.cure)


def test_dropout_that_drops_nothing_is_let_through() -> None:
    decided = decide_case(
        Case(Sample("dropout", aten.dropout.default, (floats(4, 4), 0.0, True)), 2, (S(0),))
    )
    assert list(decided.results) == [S(0)]
