"""Recomputation: the backward pass repeats a forward pass instead of keeping its activations.

What decides where rows go is done once: the results of routing are kept, and the second pass gets them again.
So the host waits for no sizes again, and no rounding of the second pass sends a token elsewhere. The results
of collectives are kept as well, and the second pass communicates with no other rank, unless there is no room
for them: then all ranks of a group send again, each in the backward pass of the same module.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

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


def recompute(module: nn.Module, *inputs: Tensor, resend: bool = False) -> Any:
    """What `module` returns for `inputs`. Its backward pass begins with another forward pass.

    With `resend` that pass communicates again, and what ranks have sent each other is not kept.
    """
    run = partial(_run_to_begin, module) if resend else module
    # Stopping early would save little, leave the hooks of modules half done, and leave out collectives.
    passes = partial(_create_passes, resend)
    return checkpoint(run, *inputs, use_reentrant=False, context_fn=passes, early_stop=False)


def _run_to_begin(module: nn.Module, *inputs: Tensor) -> Any:
    """What `module` returns. Its second forward pass comes before all else that its backward pass does.

    torch runs it when something that was saved is read, which may be after collectives of the backward pass:
    the ranks of one group could then issue operations in another order than those of another one.
    """
    handle = module.register_forward_hook(_begin, prepend=True)  # what other hooks see comes after it
    try:
        return module(*inputs)
    finally:
        handle.remove()


def _begin(_module: nn.Module, _inputs: object, results: Any) -> Any:
    if isinstance(results, Tensor):
        return _Begin.apply(results)[0]
    begun = iter(_Begin.apply(*(each for each in results if each.requires_grad)))
    return tuple(next(begun) if each.requires_grad else each for each in results)


class _Begin(torch.autograd.Function):
    """Leaves tensors as they are; its backward pass reads something that was saved."""

    apply: ClassVar[Callable[..., tuple[Tensor, ...]]]  # which torch leaves untyped

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(tensors[0].new_empty(0))
        return tuple(each.view_as(each) for each in tensors)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        _ = ctx.saved_tensors
        return gradients


def keep_result(function: Callable[P, T]) -> Callable[P, T]:
    """A function that is not called again by a second pass, which gets its result of the first one."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        current = _find_pass()
        if current is None:
            return function(*args, **kwargs)
        return current.keep(function.__name__, lambda: function(*args, **kwargs))

    return call


def keep_received(function: Callable[P, T]) -> Callable[P, T]:
    """As `keep_result`, for a function that communicates: a pass that resends calls it again."""
    keeping = keep_result(function)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        current = _find_pass()
        return (function if current is None or current.resend else keeping)(*args, **kwargs)

    return call


def is_first_pass() -> bool:
    """False in a second pass, which must not count again what the first one has counted."""
    current = _find_pass()
    return current is None or not current.second


class _Pass(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The first or the second forward pass of a module; `results` are those that are kept, in order."""

    def __init__(self, results: deque[tuple[str, Any]], resend: bool, second: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.results, self.resend, self.second = results, resend, second

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


def _create_passes(resend: bool) -> tuple[_Pass, _Pass]:
    results: deque[tuple[str, Any]] = deque()
    return _Pass(results, resend, second=False), _Pass(results, resend, second=True)


def _alias(value: Any) -> Any:
    """The same values in new tensors, which autograd knows nothing of."""
    if isinstance(value, Tensor):
        return value.detach()
    return type(value)(map(_alias, value)) if isinstance(value, tuple | list) else value
