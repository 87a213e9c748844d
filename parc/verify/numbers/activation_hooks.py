"""What modules give and the gradients of it, kept as it passes: the same for a program and for the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils import _pytree as pytree


class Key(NamedTuple):
    """One tensor that a module gives for one microbatch."""

    microbatch: int
    path: str
    place: int  # among the tensors that the module gives


class Recorder:
    """Keeps what the modules at `paths` below `root` give, in the order in which they give it."""

    def __init__(self, root: nn.Module, paths: Container[str]) -> None:
        self.clear()
        for path, module in root.named_modules():
            if path in paths:
                module.register_forward_hook(partial(self._gave, path))

    def clear(self) -> None:
        """Forget a step."""
        self.values: dict[Key, Tensor] = {}
        self.gradients: dict[Key, Tensor] = {}
        self._calls: Counter[str] = Counter()

    def _gave(self, path: str, _module: nn.Module, _given: Any, out: Any) -> None:
        microbatch = self._calls[path]
        self._calls[path] += 1
        tensors = [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)]
        for place, tensor in enumerate(tensors):
            key = Key(microbatch, path, place)
            self.values[key] = tensor.detach().to("cpu", copy=True)
            if tensor.requires_grad:
                tensor.register_hook(partial(self._gradient, key))  # type: ignore[no-untyped-call]

    def _gradient(self, key: Key, gradient: Tensor) -> None:
        self.gradients[key] = gradient.detach().to("cpu", copy=True)
