"""What all process groups that are written in Python have in common."""

from __future__ import annotations

from typing import Any

from torch.distributed import ProcessGroup, distributed_c10d

_Group: Any = ProcessGroup  # its stubs list methods that no group in Python has


class PythonGroup(_Group):  # type: ignore[misc]
    """One rank of a group. torch asks a group in Python for these four."""

    backend = ""

    def __init__(self, rank: int, size: int) -> None:
        super().__init__(rank, size)
        self._rank, self._size = rank, size

    def rank(self) -> int:
        return self._rank

    def size(self) -> int:
        return self._size

    def getBackendName(self) -> str:
        return self.backend

    @property
    def group_name(self) -> str:
        return str(distributed_c10d._world.pg_names[self])
