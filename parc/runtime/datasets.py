"""Text files and token files, each as one long sequence of ids."""

from __future__ import annotations

import math
import os
import sysconfig
from bisect import bisect_right
from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import accumulate
from pathlib import Path
from typing import Protocol

import torch

STDLIB = "stdlib:"
NOT_STDLIB = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
PIECE = 1 << 24  # ids looked at together when all are counted


class Dataset(Protocol):
    """One long sequence of ids."""

    def __len__(self) -> int: ...

    def read(self, start: int, length: int) -> torch.Tensor:
        """The ids [start, start + length): (length,) int64."""
        ...


class ByteDataset:
    """The bytes of the files at `paths`, concatenated. Nothing is read before `read` asks for it."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.ends = list(accumulate(path.stat().st_size for path in self.paths))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, start: int, length: int) -> torch.Tensor:
        content = bytearray()
        file = bisect_right(self.ends, start)
        while len(content) < length:
            begin = self.ends[file - 1] if file else 0
            with self.paths[file].open("rb") as text:
                text.seek(start + len(content) - begin)
                content += text.read(length - len(content))
            file += 1
        return torch.frombuffer(content, dtype=torch.uint8).long()


class TokenDataset:
    """A file of little-endian ids of one type ("uint16", ..), mapped into memory."""

    def __init__(self, path: Path, type: str) -> None:
        dtype: torch.dtype = getattr(torch, type)
        self.size = path.stat().st_size // dtype.itemsize
        self.ids = torch.from_file(str(path), shared=False, size=self.size, dtype=dtype)

    def __len__(self) -> int:
        return self.size

    def read(self, start: int, length: int) -> torch.Tensor:
        return self.ids[start : start + length].long()


def find_files(patterns: Sequence[str], base: Path) -> list[Path]:
    """The files that match, each once, in a fixed order.

    A pattern is a glob relative to `base`, in which `**` crosses folders; or `stdlib:` and a glob over the
    sources of Python's standard library, without its tests.

    Raises:
        FileNotFoundError: no file matches one of the patterns.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        if pattern.startswith(STDLIB):
            matches = _list_standard_library(pattern.removeprefix(STDLIB))
        else:
            whole = base.absolute() / pattern
            root = Path(whole.anchor)
            matches = sorted(path for path in root.glob(str(whole.relative_to(root))) if path.is_file())
        if not matches:
            raise FileNotFoundError(f"no file matches {pattern!r} in {base}")
        found.update(dict.fromkeys(matches))
    return list(found)


def compute_unigram_entropy(dataset: Dataset) -> float:
    """The entropy of single ids, in nats: the loss of a model that knows only how often each id occurs."""
    counts = torch.zeros(0, dtype=torch.int64)
    for start in range(0, len(dataset), PIECE):
        piece = dataset.read(start, min(PIECE, len(dataset) - start)).bincount(minlength=len(counts))
        piece[: len(counts)] += counts
        counts = piece
    share = counts[counts > 0].double() / len(dataset)
    return -math.fsum((share * share.log()).tolist())


def _list_standard_library(pattern: str) -> list[Path]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_STDLIB]
        found += [Path(parent, name) for name in names]
    return [path for path in sorted(found) if fnmatch(path.relative_to(folder).as_posix(), pattern)]
