"""What modules compute in fewer bits than fp32 though the plan keeps them in fp32."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
_PRODUCTS = {aten.mm, aten.addmm, aten.bmm, aten.mean, aten.sum, aten._softmax, aten.native_layer_norm}
_CASTS = {aten._to_copy, aten.copy_}


class KeptComputation:
    """Watches the modules at `paths` in the stages of a rank; `wrong` gets a line for each at fault.

    What a stage calls itself in the place of a module (`F.layer_norm`) is not watched.
    """

    def __init__(self, stages: Sequence[nn.Module], paths: Iterable[str]) -> None:
        self.wrong: dict[str, str] = {}
        kept = set(paths)
        for stage in stages:
            for path, module in stage.named_modules():
                if path in kept:
                    self._watch(path, module)

    def _watch(self, path: str, module: nn.Module) -> None:
        stack = ExitStack()

        def enter(*_: object) -> None:
            stack.enter_context(_NarrowResults(partial(self._note, path)))

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(lambda *_: stack.close(), always_call=True)

    def _note(self, path: str, operator: str, dtype: torch.dtype) -> None:
        name = str(dtype).removeprefix("torch.")
        self.wrong.setdefault(path, f"`{path}` computes `{operator}` in {name}, and in fp32 by the plan")


class _NarrowResults(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls `note` with each operator whose result has fewer bits than fp32, conversions left out."""

    def __init__(self, note: Any) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.note = note

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        if packet in _PRODUCTS or (torch.Tag.pointwise in func.tags and packet not in _CASTS):
            for each in pytree.tree_leaves(out):
                if isinstance(each, Tensor) and each.is_floating_point() and each.itemsize < 4:
                    self.note(packet.__name__, each.dtype)
        return out
