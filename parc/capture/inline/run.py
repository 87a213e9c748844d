"""Runs of a block's `forward` in which its calls of torch are numbered.

A call is one of a function of torch, or of a submodule other than the experts: whatever happens inside of one
counts as one call. Up to the loop over the experts the numbers are the same in every run.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree

from parc.capture.inline.values import Values, is_in_place, is_without_data, list_tensors, replace_tensors

_HERE = str(Path(__file__).parent)
Site: TypeAlias = tuple[tuple[CodeType, int], ...]
"""Where in the user's code a call stands: the frames from it up to `forward`, each with its instruction."""


class Run(TorchFunctionMode):
    """A run in which `handle` says what becomes of each call."""

    def __init__(self, values: Values) -> None:
        super().__init__()
        self.values = values
        self.number = 0
        self.calls_experts = False  # as modules, so far
        self._paused = False
        self._written: set[int] = set()  # tensors without data whose values have been written to

    def run_block(
        self, block: nn.Module, experts: nn.ModuleList, forward: Callable[..., Any], args: Any, kwargs: Any
    ) -> Any:
        """What `forward` of a block returns."""
        self.values.record(0, None, (), {}, (args, kwargs))
        with self._number_modules(block, experts), self:
            return forward(*args, **kwargs)

    def handle(self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool) -> Any:
        """Makes the call that `number` is of, of a function or of a module's `forward`."""
        raise NotImplementedError

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused or _is_attribute(func, args):
            return func(*args, **kwargs)
        self.number += 1
        return self.handle(func, args, kwargs, module=False)

    @contextmanager
    def _number_modules(self, block: nn.Module, experts: nn.ModuleList) -> Iterator[None]:
        """Every call of a submodule that has parameters, but for the experts, is a call of its own."""
        below = {id(each) for each in experts.modules()}
        found = [each for each in block.modules() if each is not block and id(each) not in below]
        found = [each for each in found if any(True for _ in each.parameters())]
        kept = [(each, vars(each).get("forward")) for each in (*found, *experts)]
        for each in found:
            each.forward = self._number_calls(each.forward)
        for each in experts:
            each.forward = self._note_expert(each.forward)
        try:
            yield
        finally:
            for each, own in kept:
                del each.forward
                if own is not None:
                    each.forward = own

    def _number_calls(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            if self._paused:
                return forward(*args, **kwargs)
            self.number += 1
            self._paused = True
            try:
                return self.handle(forward, args, kwargs, module=True)
            finally:
                self._paused = False

        return run

    def _note_expert(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            self.calls_experts = True
            return forward(*args, **kwargs)

        return run

    def compute(self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool) -> tuple[Any, bool]:
        """The result of a call, and whether it had to know values of tensors without data.

        Without data as long as that goes; with it where values are asked for, and of tensors that have any.
        """
        tensors = list_tensors((args, kwargs))
        asks = False
        writes = is_in_place(function) and self.values.is_found(args[0])
        if not writes and all(map(is_without_data, tensors)) and self._written.isdisjoint(map(id, tensors)):
            try:
                return self._compute_without_data(function, args, kwargs, module), False
            except Exception:
                nothing = all(self.values.find(each) is None for each in tensors)
                if nothing and not (tensors and self.values.find_floats(tensors)):
                    raise
                asks = True
        values = {id(each): self.values.find(each) for each in tensors}
        hollow = self.values.invents and not asks and any(each.is_floating_point() for each in tensors)
        if None not in values.values() and not hollow:
            if writes:
                self._written.add(id(args[0]))
            args, kwargs = replace_tensors((args, kwargs), values)
            return function(*args, **kwargs), asks
        if getattr(function, "__name__", "") in ("__getitem__", "__setitem__"):
            index = replace_tensors(
                args[1], {key: value for key, value in values.items() if value is not None}
            )
            args = (args[0], _list_rows(index), *args[2:])
        with_data = [each for each in list_tensors((args, kwargs)) if not is_without_data(each)]
        args, kwargs = replace_tensors((args, kwargs), {id(each): each.to("meta") for each in with_data})
        return self._compute_without_data(function, args, kwargs, module), asks

    def _compute_without_data(
        self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool
    ) -> Any:
        result = function(*args, **kwargs)
        self.values.record(self.number, None if module else function, args, kwargs, result)
        return result


def _is_attribute(function: Any, args: Sequence[Any]) -> bool:
    """Whether a function only reads an attribute that is no tensor, such as a shape."""
    return getattr(function, "__name__", "") == "__get__" and not isinstance(function(*args), Tensor)


def _list_rows(index: Any) -> Any:
    """An index whose masks, where they have data, are the numbers that they select."""
    items = index if isinstance(index, tuple) else (index,)
    found: list[Any] = []
    for item in items:
        mask = isinstance(item, Tensor) and item.dtype == torch.bool and not is_without_data(item)
        found += item.nonzero(as_tuple=True) if mask else (item,)
    return tuple(found) if isinstance(index, tuple) or len(found) > 1 else found[0]


def find_site() -> Site:
    """Where the call stands that a run handles."""
    frame: FrameType | None = sys._getframe(1)
    found = []
    while frame is not None and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    while frame is not None and not frame.f_code.co_filename.startswith(_HERE):
        found.append((frame.f_code, frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def get_storage(tensor: Tensor) -> int:
    """What a tensor has in common with its views."""
    return int(tensor.untyped_storage()._cdata)


def find_leaf(tree: object, storage: int) -> int:
    """The place of the first tensor with a storage among the leaves of a tree; -1 where there is none."""
    leaves = pytree.tree_leaves(tree)
    found = (n for n, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and get_storage(leaf) == storage)
    return next(found, -1)
