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
import torch.distributed as dist

from ..process.launch import RunStopped

STDLIB = "stdlib:"
NOT_STDLIB = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
PIECE = 1 << 24  # ids looked at together, when all are


class Dataset(Protocol):
    """One long sequence of ids."""

    def __len__(self) -> int: ...

    def read(self, start: int, length: int) -> torch.Tensor:
        """The ids [start, start + length): (length,) int64."""
        ...


class ByteDataset:
    """The bytes of the files at `paths`, concatenated. Nothing is read before `read` asks for it."""

    dtype = torch.uint8

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
    """Files of little-endian ids of one type ("uint16", ..), concatenated, mapped into memory.

    Raises ValueError where a file does not consist of whole ids.
    """

    def __init__(self, paths: Sequence[Path], type: str) -> None:
        self.dtype: torch.dtype = getattr(torch, type)
        self.files: list[torch.Tensor] = []
        for path in paths:
            size, rest = divmod(path.stat().st_size, self.dtype.itemsize)
            if rest:
                width = self.dtype.itemsize
                raise ValueError(f"{path} does not hold {type}: its size is no multiple of {width} bytes")
            if size:
                self.files.append(torch.from_file(str(path), shared=False, size=size, dtype=self.dtype))
        self.ends = list(accumulate(map(len, self.files)))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def read(self, start: int, length: int) -> torch.Tensor:
        parts, end = [], start + length
        for ids, stop in zip(self.files, self.ends, strict=True):
            begin = stop - len(ids)
            if begin < end and start < stop:
                parts.append(ids[max(0, start - begin) : end - begin].long())
        return torch.cat(parts)


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
            where = "the standard library" if pattern.startswith(STDLIB) else f"{base.absolute()} (--base)"
            raise FileNotFoundError(f"no file matches {pattern!r} in {where}")
        found.update(dict.fromkeys(matches))
    return list(found)


def check_ids(dataset: ByteDataset | TokenDataset, vocabulary: int | None, device: str) -> None:
    """Raises RunStopped where the data has an id that the model does not know. All ranks call it together.

    Each looks at its own part of the data, unless the type of the ids rules it out.
    """
    kind = torch.iinfo(dataset.dtype)
    if vocabulary is None or (kind.min >= 0 and kind.max < vocabulary):
        return
    ranks, part = dist.get_world_size(), dist.get_rank()
    first, end = (len(dataset) * place // ranks for place in (part, part + 1))
    bounds = torch.zeros(2, dtype=torch.int64)  # minus the smallest id that is below 0, and the largest id
    for start in range(first, end, PIECE):
        ids = dataset.read(start, min(PIECE, end - start))
        bounds = torch.maximum(bounds, torch.stack([-ids.min(), ids.max()]))
    found = bounds.to(device)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    below, largest = found.tolist()
    try:
        require_known(-below, largest, vocabulary)
    except ValueError as fault:
        raise RunStopped(str(fault)) from None


def require_known(least: int, largest: int, vocabulary: int) -> None:
    """Raises ValueError unless ids from `least` to `largest` lie in the vocabulary."""
    if least < 0 or largest >= vocabulary:
        wrong = least if least < 0 else largest
        raise ValueError(f"the data has id {wrong}; the model knows ids below {vocabulary}, from 0")


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
