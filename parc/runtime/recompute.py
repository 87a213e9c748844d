"""Recomputation: the backward pass repeats a forward pass instead of keeping its activations.

Only arithmetic is repeated. What ranks do together is done once, and so is what decides where rows go: the
results of collectives, of routing and of random draws are kept, and the second pass gets them again. So it
communicates with no other rank, the host waits for no sizes again, and no rounding of the second pass sends a
token elsewhere.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

P = ParamSpec("P")
T = TypeVar("T")

aten = torch.ops.aten
CHOICES = {
    *(aten.topk.default, aten.kthvalue.default, aten.sort.default, aten.sort.stable),
    *(aten.argmax.default, aten.argmin.default, aten.max.dim, aten.min.dim),
    *(getattr(aten, name).Scalar for name in ("eq", "ne", "lt", "le", "gt", "ge")),
    *(getattr(aten, name).Tensor for name in ("eq", "ne", "lt", "le", "gt", "ge")),
}
"""Operators that choose among floating-point numbers. Among whole numbers they choose the same again."""


def recompute(module: nn.Module, *inputs: Tensor) -> Any:
    """What `module` returns for `inputs`. Its backward pass begins with another forward pass."""
    # Stopping early would save little, and leave the hooks of modules half done.
    return checkpoint(module, *inputs, use_reentrant=False, context_fn=_create_passes, early_stop=False)


def keep_result(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is not called again by a second pass, which gets its result of the first one."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        current = _find_pass()
        if current is None:
            return function(*args, **kwargs)
        return current.keep(function.__name__, lambda: function(*args, **kwargs))

    return call


def is_first_pass() -> bool:
    """False in a second pass, which must not count again what the first one has counted."""
    current = _find_pass()
    return current is None or not current.second


class _Pass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The first or the second forward pass of a module; `results` are those that are kept, in order."""

    def __init__(self, results: deque[tuple[str, Any]], second: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.results, self.second = results, second

    def __enter__(self) -> _Pass:
        _THREAD.current = self
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *raised: Any) -> None:
        super().__exit__(*raised)  # type: ignore[no-untyped-call]
        _THREAD.current = None

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in CHOICES and _find_pass() is self and args[0].is_floating_point():
            return self.keep(str(func), lambda: func(*args, **kwargs))
        return func(*args, **kwargs)

    def keep(self, name: str, compute: Callable[[], T]) -> T:
        """The result of `compute` in the first pass.

        Raises RuntimeError where the second pass does not ask for what the first one has kept.
        """
        if self.second:
            known, result = self.results.popleft() if self.results else ("nothing", None)
            if known != name:
                raise RuntimeError(f"recomputation asks for {name} where the forward pass has kept {known}")
            return _alias(result)  # type: ignore[no-any-return]
        _THREAD.current = None  # what is computed inside needs no keeping
        try:
            result = compute()
        finally:
            _THREAD.current = self
        self.results.append((name, _alias(result)))
        return result


_THREAD = threading.local()
"""`current` is the pass that runs in this thread: a second one runs in a thread of the backward pass."""


def _find_pass() -> _Pass | None:
    return getattr(_THREAD, "current", None)


def _create_passes() -> tuple[_Pass, _Pass]:
    results: deque[tuple[str, Any]] = deque()
    return _Pass(results, second=False), _Pass(results, second=True)


def _alias(value: Any) -> Any:
    """The same values in new tensors, which autograd knows nothing of."""
    if isinstance(value, Tensor):
        return value.detach()
    return type(value)(map(_alias, value)) if isinstance(value, tuple | list) else value
