"""Operators of our own in a captured graph: a call of a submodule, the experts of a layer, their products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

_outputs: dict[str, tuple[tuple[torch.Size, torch.dtype], ...]] = {}


@torch.library.custom_op("parc::call", mutates_args=())
def call(inputs: Sequence[Tensor], site: str) -> list[Tensor]:
    """The submodule called at `site`. It is captured on its own, so in this graph it is opaque."""
    raise RuntimeError("a captured graph is never run")


@call.register_fake
def _(inputs: Sequence[Tensor], site: str) -> list[Tensor]:
    return [torch.empty(shape, dtype=dtype, device="meta") for shape, dtype in _outputs[site]]


@torch.library.custom_op("parc::experts", mutates_args=())
def experts(tokens: Tensor, indices: Tensor, weights: Tensor, site: str) -> Tensor:
    """tokens (.., H), indices and weights (.., K) -> (.., H): the weighted sum of each token's experts."""
    raise RuntimeError("a captured graph is never run")


@experts.register_fake
def _(tokens: Tensor, indices: Tensor, weights: Tensor, site: str) -> Tensor:
    return torch.empty_like(tokens)


CALL, EXPERTS = torch.ops.parc.call.default, torch.ops.parc.experts.default  # as targets of nodes


@contextmanager
def declare_outputs(outputs: dict[str, tuple[tuple[torch.Size, torch.dtype], ...]]) -> Iterator[None]:
    """Let `call` answer for these sites while parents are captured."""
    _outputs.update(outputs)
    try:
        yield
    finally:
        _outputs.clear()


for _name in ("grouped_linear", "grouped_matmul", "grouped_add", "grouped_mul"):
    # rows of all experts, sorted by expert, against the stacked (experts, ..) tensor of each
    torch.library.define(f"parc::{_name}", "(Tensor rows, Tensor stacked) -> Tensor")

GROUPED_LINEAR = torch.ops.parc.grouped_linear.default
GROUPED_MATMUL = torch.ops.parc.grouped_matmul.default
GROUPED_ADD = torch.ops.parc.grouped_add.default
GROUPED_MUL = torch.ops.parc.grouped_mul.default
