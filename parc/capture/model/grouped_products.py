"""Grouped products in float64, which torch's own kernel does not take, group by group."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor

_entered: list[object] = []  # one at most: a kernel cannot take the place of another twice


@contextmanager
def multiply_groups_one_by_one() -> Iterator[None]:
    """Within it, `grouped_mm` on the CPU takes operands of every type, in backward passes as well."""
    if _entered:
        yield
        return
    library = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a kernel takes the place of another
        library.impl("_grouped_mm", _multiply_groups, "CPU")  # type: ignore[no-untyped-call]
    _entered.append(library)
    try:
        yield
    finally:
        _entered.clear()
        library._destroy()  # type: ignore[no-untyped-call]


def _multiply_groups(
    a: Tensor,
    b: Tensor,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Products of matrices that are stacked, or of groups of rows, columns or terms that end at `offs`.

    a (groups, m, k) or (m, k), b (groups, k, n) or (k, n). A dim that both are without counts groups as
    well: that of the rows of `a`, of the columns of `b`, or of the terms where both are matrices.
    """
    assert bias is None
    if offs is None:
        return torch.bmm(a, b)
    ends = [0, *offs.tolist()]
    parts = [slice(*span) for span in pairwise(ends)]
    if a.ndim == b.ndim == 2:
        return torch.stack([a[:, part] @ b[part] for part in parts])
    if a.ndim == 2:
        result = a.new_zeros(len(a), b.shape[-1])
        for number, part in enumerate(parts):
            result[part] = a[part] @ b[number]
        return result
    result = a.new_zeros(a.shape[1], b.shape[-1])
    for number, part in enumerate(parts):
        result[:, part] = a[number] @ b[:, part]
    return result
