"""Hooks that keep what modules return, and its gradients: the same for a program and for its model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container
from functools import partial
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.utils import _pytree as pytree


class ActivationKey(NamedTuple):
    """One tensor that a module returns for one microbatch. `output` counts the tensors that it returns."""

    microbatch: int
    path: str
    output: int


class ActivationHooks:
    """Keeps the outputs of the modules at `paths` below `root` in the order of their calls, on the CPU.

    `gradients` has the gradients of the same tensors in the order in which they are known.
    """

    def __init__(self, root: nn.Module, paths: Container[str]) -> None:
        self.clear()
        for path, module in root.named_modules():
            if path in paths:
                module.register_forward_hook(partial(self._keep_outputs, path))

    def clear(self) -> None:
        """Starts a new step."""
        self.outputs: dict[ActivationKey, Tensor] = {}
        self.gradients: dict[ActivationKey, Tensor] = {}
        self._calls: Counter[str] = Counter()

    def _keep_outputs(self, path: str, _module: nn.Module, _args: Any, out: Any) -> None:
        microbatch = self._calls[path]
        self._calls[path] += 1
        tensors = [leaf for leaf in pytree.tree_leaves(out) if isinstance(leaf, Tensor)]
        for number, tensor in enumerate(tensors):
            key = ActivationKey(microbatch, path, number)
            self.outputs[key] = tensor.detach().to("cpu", copy=True)
            if tensor.requires_grad:
                tensor.register_hook(partial(self._keep_gradient, key))  # type: ignore[no-untyped-call]

    def _keep_gradient(self, key: ActivationKey, gradient: Tensor) -> None:
        self.gradients[key] = gradient.detach().to("cpu", copy=True)
