"""What a model computes in float32 of its own accord, computed in float64 where the whole run is.

Two layouts of a sum agree to 1e-16 in float64; a single cast to float32 on the way, as norms and routers like
to have, would let them drift apart by 1e-7. So a float64 run casts to float64 what the model casts to less,
in the captured program and in the model on one device alike. Runs in other types are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from parc.capture.model.grouped_products import multiply_groups_one_by_one
from parc.capture.source_lines import Line, list_frames, list_users_lines

_LESS = (torch.float32, torch.bfloat16, torch.float16)
_CASTS = (Tensor.float, Tensor.half, Tensor.bfloat16)
_READS_BITS = (Tensor.view,)  # a type says there how to read memory, not what to compute in


@contextmanager
def promote_casts(compute: torch.dtype) -> Iterator[set[Line]]:
    """Within it, a model that computes in `compute` computes in nothing less if that is float64.

    The lines of the user's source whose casts are promoted are added to the set.
    """
    lines: set[Line] = set()
    if compute != torch.float64:
        yield lines
        return
    with _Promoted(lines), multiply_groups_one_by_one():
        yield lines


class _Promoted(TorchFunctionMode):
    """Types among a function's arguments become float64, and so does what it computes in less."""

    def __init__(self, lines: set[Line]) -> None:
        super().__init__()
        self.lines = lines

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _CASTS or any(map(_is_less, (*args, *kwargs.values()))):
            self.lines.update(islice(list_users_lines(list_frames()), 1))
        if func not in _READS_BITS:
            args = tuple(map(_raise_type, args))
            kwargs = {name: _raise_type(value) for name, value in kwargs.items()}
        result = (Tensor.double if func in _CASTS else func)(*args, **kwargs)
        if not isinstance(result, Tensor) or result.dtype not in _LESS:
            return result
        in_place = any(result is operand for operand in (*args, *kwargs.values()))
        return result if in_place else result.double()


def _raise_type(argument: Any) -> Any:
    return torch.float64 if _is_less(argument) else argument


def _is_less(argument: Any) -> bool:
    return isinstance(argument, torch.dtype) and argument in _LESS
