"""The experts of a block run by the loop that the block has for them, with choices that are given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.calls import Call, is_spec
from parc.capture.inline.run import Run, find_site
from parc.capture.inline.split import Split
from parc.capture.inline.values import Place, Values, is_in_place


def run_loop(
    block: nn.Module,
    experts: nn.ModuleList,
    call: Call,
    split: Split,
    tokens: Tensor,
    indices: Tensor,
    weights: Tensor,
) -> Tensor:
    """The sum (N, H) that a block makes of tokens (N, H), indices and weights (N, K).

    The experts have memory; all else of the block has none, and runs without.
    """
    shape = indices.shape
    if split.dense:
        weights = weights.new_zeros(shape[0], len(experts)).scatter(-1, indices, weights)
    given = {split.tokens: tokens, split.indices: indices, split.weights: weights}
    leaves = [_resize(leaf, split.rows, len(tokens)) if is_spec(leaf) else leaf for leaf in call.arguments]
    args, kwargs = pytree.tree_unflatten(leaves, call.structure)
    run = _Loop(len(experts), split, given)
    with _replace_choices(block, experts, split.choices, shape[1]):
        try:
            out = run.run_block(block, experts, block.forward, args, kwargs)
            found = pytree.tree_leaves(out)[split.leaf]
        except _Done as done:
            found = done.found
    value = run.values.find(found)
    return found if value is None else value.view(tokens.shape)


class _Done(BaseException):
    """The sum of the experts is found; no more of the block is run."""

    def __init__(self, found: Any) -> None:
        super().__init__()
        self.found = found


class _Loop(Run):
    def __init__(self, experts: int, split: Split, given: dict[Place, Tensor]) -> None:
        super().__init__(Values(experts, given))
        self._split = split

    def handle(self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool) -> Any:
        """Computes a call with data where that is known and needed."""
        if self.number > self._split.first and find_site() == self._split.used:
            raise _Done(pytree.tree_leaves((args, kwargs))[self._split.leaf])
        if self.number > self._split.first and is_in_place(function):
            self.values.find(args[0])
        return self.compute(function, args, kwargs, module)[0]


def _resize(spec: tuple[torch.Size, torch.dtype], rows: int, wanted: int) -> Tensor:
    """An input without data for another number of tokens, which are all in one sequence."""
    shape, dtype = spec
    for depth in range(1, len(shape) + 1):
        if prod(shape[:depth]) == rows:
            shape = torch.Size((*[1] * (depth - 1), wanted, *shape[depth:]))
            break
    return torch.empty(shape, dtype=dtype, device="meta")


@contextmanager
def _replace_choices(block: nn.Module, experts: nn.ModuleList, known: int, wanted: int) -> Iterator[None]:
    """The block's attributes that have the number of choices have another one."""
    below = {id(each) for each in experts.modules()}
    holders: list[Any] = [each for each in block.modules() if id(each) not in below]
    for module in list(holders):
        plain = (value for value in vars(module).values() if hasattr(value, "__dict__"))
        holders += [
            value for value in plain if not isinstance(value, nn.Module | type) and not callable(value)
        ]
    changed = [
        (vars(holder), name)
        for holder in holders
        for name, value in vars(holder).items()
        if type(value) is int and value == known != wanted and not name.startswith("_")
    ]
    for attributes, name in changed:
        attributes[name] = wanted
    try:
        yield
    finally:
        for attributes, name in changed:
            attributes[name] = known
