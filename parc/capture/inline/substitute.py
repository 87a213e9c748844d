"""A block's `forward` with one call in place of its loop over experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.utils import _pytree as pytree

from parc.capture.inline.run import Run, get_storage
from parc.capture.inline.split import Inseparable, Split
from parc.capture.inline.values import Place, Values, is_in_place, list_tensors


def run_substituted(
    block: nn.Module,
    experts: nn.ModuleList,
    split: Split,
    forward: Callable[..., Any],
    args: Any,
    kwargs: Any,
) -> Any:
    """What a block returns whose experts are called with tokens (N, H), indices and weights (N, K)."""
    return _Substitution(experts, split).run(block, forward, args, kwargs)


class _Substitution(Run):
    """The calls of the loop are not made: they return what they returned when it was observed."""

    def __init__(self, experts: nn.ModuleList, split: Split) -> None:
        super().__init__(Values(len(experts)))
        self._experts, self._split = experts, split
        self._found: dict[Place, Tensor] = {}
        self._sums: set[int] = set()  # the storages that hold the sum, or would
        self._sum: Tensor | None = None

    def run(self, block: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """The results of the block."""
        self._keep((args, kwargs))
        return self._resolve(self.run_block(block, self._experts, forward, args, kwargs))

    def handle(self, function: Callable[..., Any], args: Any, kwargs: Any, module: bool) -> Any:
        """Before the loop a call is what it is, after it with the sum of the experts."""
        if self.number < self._split.first:
            result = function(*args, **kwargs)
            self._keep(result)
            return result
        if self.number > self._split.last:
            args, kwargs = self._resolve((args, kwargs))
            return function(*args, **kwargs)
        result = self._split.loop[self.number - self._split.first].replay(args, kwargs)
        if self.number == self._split.last:
            made = [*list_tensors(result), *(args[:1] if is_in_place(function) else ())]
            self._sums = {get_storage(each) for each in made}
        return result

    def _keep(self, result: Any) -> None:
        split = self._split
        for leaf, tensor in enumerate(pytree.tree_leaves(result)):
            if (place := Place(self.number, leaf)) in (split.tokens, split.indices, split.weights):
                self._found[place] = tensor

    def _resolve(self, tree: Any) -> Any:
        """The tree with the sum of the experts where the loop would have put it."""
        return pytree.tree_map_only(Tensor, self._resolve_tensor, tree)

    def _resolve_tensor(self, tensor: Tensor) -> Tensor:
        if get_storage(tensor) not in self._sums:
            return tensor
        if self._sum is None:
            self._sum = self._call_experts()
        if tensor.numel() != self._sum.numel() or not tensor.is_contiguous():
            raise Inseparable("what follows its loop over the experts reads a part of their sum")
        return self._sum if tensor.shape == self._sum.shape else self._sum.view(tensor.shape)

    def _call_experts(self) -> Tensor:
        split = self._split
        tokens = self._found[split.tokens].flatten(0, -2)
        indices = self._found[split.indices].reshape(len(tokens), split.choices)
        weights = self._found[split.weights]
        if split.dense:
            weights = weights.reshape(len(tokens), -1).gather(-1, indices)
        result: Tensor = self._experts(tokens, indices, weights.reshape(indices.shape))
        return result
