"""Records the operations that one rank issues, and the source lines of its program that they come from."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from types import FrameType
from typing import Any

import torch.distributed as dist
from torch import Tensor
from torch._C._distributed_c10d import _resolve_process_group
from torch.distributed import ProcessGroup

from parc.plan.mesh import Mesh
from parc.trace.ops import Op, OpKind, Tape
from parc.verify.source_lines import ProgramFrame

_FUNCTIONAL: dict[str, OpKind] = {
    "all_reduce": "all_reduce",
    "all_gather_into_tensor": "all_gather",
    "reduce_scatter_tensor": "reduce_scatter",
    "all_to_all_single": "all_to_all",
    "broadcast": "broadcast",
}


class OperationLog:
    """The operations of one rank of `mesh`, whose program lies in `folder`.

    `frames` has for each operation the program's frames that it comes from, innermost first.
    """

    def __init__(self, folder: Path, mesh: Mesh) -> None:
        self.tape = Tape()
        self.frames: list[tuple[ProgramFrame, ...]] = []
        self._inside, self._mesh = f"{folder}/", mesh
        self._batch: int | None = None

    def add(
        self, group: ProcessGroup, kind: OpKind, tensor: Tensor, reduction: str | None, peer: int | None
    ) -> list[int]:
        """Records an operation; its number, or none where the group is a single rank."""
        if group.size() == 1:
            return []
        axis = _name_group(self._mesh, tuple(dist.get_process_group_ranks(group)))
        self.frames.append(tuple(self._find_frames(sys._getframe(1))))
        op = Op(kind, axis, tuple(tensor.shape), str(tensor.dtype), reduction, peer)
        return self.tape.post([op], self._batch)

    def add_functional(self, func: Any, args: Sequence[Any]) -> None:
        """Records a functional collective, which is complete before the next operation."""
        name = func.overloadpacket.__name__.removesuffix("_coalesced").removesuffix("_")
        if name not in _FUNCTIONAL:
            return
        tensors, *rest, group = args
        for tensor in tensors if isinstance(tensors, (list, tuple)) else [tensors]:
            if name == "reduce_scatter_tensor":
                tensor = tensor[: len(tensor) // rest[1]]
            reduction = rest[0] if name in ("all_reduce", "reduce_scatter_tensor") else None
            peer = rest[0] if name == "broadcast" else None
            resolved = _resolve_process_group(group)
            self.tape.wait(self.add(resolved, _FUNCTIONAL[name], tensor, reduction, peer))

    @contextmanager
    def record_batch(self) -> Iterator[None]:
        """The operations recorded in the block are issued as one."""
        self._batch = len(self.tape)
        yield
        self._batch = None

    def _find_frames(self, frame: FrameType | None) -> Iterator[ProgramFrame]:
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._inside):
                yield ProgramFrame(frame.f_code.co_filename.removeprefix(self._inside), frame.f_lineno)
            frame = frame.f_back


def _name_group(mesh: Mesh, ranks: Sequence[int]) -> str:
    """The axis whose group is `ranks`, or "dp+tp"; the ranks where they are no group of the mesh."""
    axes = [axis for axis in mesh.axes if axis.size > 1]
    for count in range(1, len(axes) + 1):
        for some in combinations(axes, count):
            names = [axis.name for axis in some]
            if mesh.product(names) == len(ranks) and list(mesh.group(ranks[0], names)) == list(ranks):
                return "+".join(names)
    return f"ranks {', '.join(map(str, ranks))}"
