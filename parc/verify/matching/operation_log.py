"""Writing down what one rank issues, and from which lines of its program."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.distributed import ProcessGroup

from parc.trace.ops import Kind, Op, Tape
from parc.verify.execution.stack_frames import Frame

_FUNCTIONAL: dict[str, Kind] = {
    "all_reduce": "all_reduce",
    "all_gather_into_tensor": "all_gather",
    "reduce_scatter_tensor": "reduce_scatter",
    "all_to_all_single": "all_to_all",
    "broadcast": "broadcast",
}


class Listener:
    """What one rank has issued, and from which lines of its program."""

    def __init__(self, folder: Path, axis_of: Callable[[tuple[int, ...]], str]) -> None:
        """`axis_of` names the axis whose group has the given ranks."""
        self.tape = Tape()
        self.frames: list[tuple[Frame, ...]] = []
        self._inside = f"{folder}/"
        self._axis_of = axis_of
        self._batch: int | None = None

    def heard(
        self, group: ProcessGroup, kind: Kind, tensor: Tensor, reduction: str | None, peer: int | None
    ) -> list[int]:
        """Notes an operation: its number; no number where the group is a single rank."""
        if group.size() == 1:
            return []
        axis = self._axis_of(tuple(dist.get_process_group_ranks(group)))
        self.frames.append(tuple(self._frames(sys._getframe(1))))
        op = Op(kind, axis, tuple(tensor.shape), str(tensor.dtype), reduction, peer)
        return self.tape.post([op], self._batch)

    def functional(self, func: Any, args: Sequence[Any]) -> None:
        """Notes a functional collective, which is complete before the next operation."""
        name = func.overloadpacket.__name__.removesuffix("_coalesced").removesuffix("_")
        if name not in _FUNCTIONAL:
            return
        tensors, *how, group = args
        for tensor in tensors if isinstance(tensors, (list, tuple)) else [tensors]:
            if name == "reduce_scatter_tensor":
                tensor = tensor[: len(tensor) // how[1]]
            reduction = how[0] if name in ("all_reduce", "reduce_scatter_tensor") else None
            peer = how[0] if name == "broadcast" else None
            named = _resolve_process_group(group)
            self.tape.wait(self.heard(named, _FUNCTIONAL[name], tensor, reduction, peer))

    @contextmanager
    def batch(self) -> Iterator[None]:
        """What is issued meanwhile is issued as one."""
        self._batch = len(self.tape)
        yield
        self._batch = None

    def _frames(self, frame: FrameType | None) -> Iterator[Frame]:
        """The program's, innermost first."""
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._inside):
                yield Frame(frame.f_code.co_filename.removeprefix(self._inside), frame.f_lineno)
            frame = frame.f_back
