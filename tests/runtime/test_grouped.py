"""Grouped products against a loop over the experts, in the types that have a fused product and in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from parc.runtime.grouped import RowCounts, grouped_linear, grouped_matmul

COUNTS = ([3, 2, 1, 4], [0, 0, 10, 0], [0, 0, 0, 0], [7], [1], [0, 1])
FIT = (8, 16)  # entries of a row: multiples of 16 bytes in every type
WIDTHS = (FIT, (5, 16), (8, 3))
TYPES = (torch.float32, torch.bfloat16, torch.float64)


class Fused(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts fused products."""

    calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += func is torch.ops.aten._grouped_mm.default
        return func(*args, **(kwargs or {}))


def loop(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    """rows (R, in), weight (E, in, out) -> (R, out), expert by expert."""
    return torch.cat([part @ matrix for part, matrix in zip(rows.split(counts), weight, strict=True)])


def turned_loop(rows: Tensor, weight: Tensor, counts: list[int]) -> Tensor:
    return loop(rows, weight.transpose(1, 2), counts)


def given(counts: list[int], widths: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(sum(counts), widths[0], generator=generator)
    return rows.to(dtype), torch.randn(len(counts), *widths, generator=generator).to(dtype)


def run_grouped(
    product: Callable[..., Tensor], rows: Tensor, weight: Tensor, counts: list[int]
) -> list[Tensor]:
    return run(lambda *leaves: product(*leaves, RowCounts(torch.tensor(counts))), rows, weight)


def run_loop(product: Callable[..., Tensor], rows: Tensor, weight: Tensor, counts: list[int]) -> list[Tensor]:
    return run(lambda *leaves: product(*leaves, counts), rows, weight)


def run(product: Callable[..., Tensor], rows: Tensor, weight: Tensor) -> list[Tensor]:
    """The result, and the gradients of rows and weight."""
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (rows, weight)]
    out = product(*leaves)
    generator = torch.Generator().manual_seed(2)
    out.backward(torch.randn(out.shape, generator=generator).to(out))
    return [out.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("widths", WIDTHS)
@pytest.mark.parametrize("counts", COUNTS)
def test_a_product_of_groups_is_the_loop_bit_by_bit(
    counts: list[int], widths: tuple[int, int], dtype: torch.dtype
) -> None:
    rows, weight = given(counts, widths, dtype)
    turned = weight.transpose(1, 2).contiguous()
    with Fused() as fused:
        found = run_grouped(grouped_matmul, rows, weight, counts)
        found += run_grouped(grouped_linear, rows, turned, counts)
    wanted = run_loop(loop, rows, weight, counts) + run_loop(turned_loop, rows, turned, counts)
    assert len(found) == len(wanted) == 6
    assert all(torch.equal(mine, other) for mine, other in zip(found, wanted, strict=True))
    assert fused.calls == (6 if widths == FIT and dtype != torch.float64 else 0)  # 2 products, 3 calls each


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("strides", [(9, 1), (0, 1), (1, 1)])
def test_a_row_of_another_tensor_is_as_good_as_one_of_its_own(
    dtype: torch.dtype, strides: tuple[int, int]
) -> None:
    """One row may lie in memory anyhow; the gradient is one number, expanded."""
    rows, weight = given([1], FIT, dtype)
    odd = rows.flatten().as_strided((1, 8), strides).requires_grad_()
    plain = rows.clone().requires_grad_()
    grouped_matmul(odd, weight, RowCounts(torch.tensor([1]))).sum().backward()
    loop(plain, weight, [1]).sum().backward()
    assert odd.grad is not None
    assert plain.grad is not None
    assert torch.equal(odd.grad, plain.grad)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("counts", COUNTS)
def test_without_data_shapes_are_known(counts: list[int], dtype: torch.dtype) -> None:
    rows, weight = (tensor.to("meta") for tensor in given(counts, FIT, dtype))
    out, of_rows, of_weight = run_grouped(grouped_matmul, rows, weight, counts)
    assert (out.shape, of_rows.shape, of_weight.shape) == ((len(rows), FIT[1]), rows.shape, weight.shape)
    assert out.is_meta
