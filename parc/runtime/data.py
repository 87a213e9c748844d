"""Text files and token files as one long sequence of ids, and the batches of each step.

Which tokens a step sees depends on the seed and the step alone: a layout changes who reads them, never what.
"""

from __future__ import annotations

import math
import os
import sysconfig
from bisect import bisect_right
from collections.abc import Sequence
from fnmatch import fnmatch
from itertools import accumulate
from pathlib import Path
from typing import Literal, Protocol

import torch

from .order import Shuffle

STDLIB = "stdlib:"
NOT_STDLIB = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
PIECE = 1 << 24  # ids looked at together when all are counted


class Dataset(Protocol):
    """One long sequence of ids."""

    def __len__(self) -> int: ...

    def window(self, start: int, length: int) -> torch.Tensor:
        """Ids [start, start + length): (length,) int64."""
        ...


class Bytes:
    """The bytes of `paths`, one file after the other. Each window is read when it is asked for."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        self.ends = list(accumulate(path.stat().st_size for path in self.paths))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def window(self, start: int, length: int) -> torch.Tensor:
        content = bytearray()
        file = bisect_right(self.ends, start)
        while len(content) < length:
            begin = self.ends[file - 1] if file else 0
            with self.paths[file].open("rb") as text:
                text.seek(start + len(content) - begin)
                content += text.read(length - len(content))
            file += 1
        return torch.frombuffer(content, dtype=torch.uint8).long()


class TokenFile:
    """A file of little-endian ids of one type ("uint16", ..), mapped into memory."""

    def __init__(self, path: Path, type: str) -> None:
        dtype: torch.dtype = getattr(torch, type)
        self.size = path.stat().st_size // dtype.itemsize
        self.ids = torch.from_file(str(path), shared=False, size=self.size, dtype=dtype)

    def __len__(self) -> int:
        return self.size

    def window(self, start: int, length: int) -> torch.Tensor:
        return self.ids[start : start + length].long()


class Batches:
    """The batch of each step: `sequences` windows of `length` ids, in `microbatches` parts.

    The sequences of a run are numbered; the text is cut into windows, and each pass over it takes them in a
    new order that `seed` fixes. `shift` says who pairs a position with the id after it: "data" makes the
    labels the next ids, "model" hands over the ids as labels too. An id of `vocabulary` or more is refused: a
    vocabulary-parallel embedding would look it up as zero without a word.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        sequences: int,
        length: int,
        microbatches: int,
        seed: int,
        shift: Literal["data", "model"] = "data",
        vocabulary: int | None = None,
    ) -> None:
        self.dataset = dataset
        self.sequences, self.length, self.microbatches = sequences, length, microbatches
        self.seed, self.shift, self.vocabulary = seed, shift, vocabulary
        self.windows = (len(dataset) - 1) // length  # the label of a window's last id is the next one's first
        if self.windows < 1:
            raise ValueError(f"the data has {len(dataset)} ids; one sequence needs {length + 1}")

    def step(self, step: int, data_rank: int = 0, data_ranks: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and labels of one data rank at `step`: int64, (microbatches, sequences of a rank, length).

        Microbatch i is sequences [iB/m, (i+1)B/m) of the step; data rank d takes its d-th slice of each.
        """
        of_microbatch = self.sequences // self.microbatches
        of_rank = of_microbatch // data_ranks
        first = step * self.sequences + data_rank * of_rank
        rows = [
            self.sequence(first + microbatch * of_microbatch + row)
            for microbatch in range(self.microbatches)
            for row in range(of_rank)
        ]
        ids = torch.stack(rows).view(self.microbatches, of_rank, self.length + 1)
        if self.vocabulary is not None and (largest := int(ids.max())) >= self.vocabulary:
            raise ValueError(f"the data has id {largest}; the model knows ids below {self.vocabulary}")
        tokens = ids[..., :-1].contiguous()
        return tokens, ids[..., 1:].contiguous() if self.shift == "data" else tokens

    def predicted(self, labels: torch.Tensor) -> torch.Tensor:
        """Those of a step's labels that some position predicts: (.., length), or one less."""
        return labels[..., 1:] if self.shift == "model" else labels

    def sequence(self, number: int) -> torch.Tensor:
        """The ids of sequence `number` of the run, and the one that follows them: (length + 1,) int64."""
        epoch, index = divmod(number, self.windows)
        order = Shuffle(self.windows, f"{self.seed}/{epoch}")
        return self.dataset.window(order(index) * self.length, self.length + 1)


def find(patterns: Sequence[str], base: Path) -> list[Path]:
    """The files that match, each once, in a fixed order. A pattern is a glob relative to `base` (`**` crosses
    folders), or `stdlib:` and a glob over the sources of Python's standard library, without its tests."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        if pattern.startswith(STDLIB):
            matches = _standard_library(pattern.removeprefix(STDLIB))
        else:
            whole = base.absolute() / pattern
            root = Path(whole.anchor)
            matches = sorted(path for path in root.glob(str(whole.relative_to(root))) if path.is_file())
        if not matches:
            raise FileNotFoundError(f"no file matches {pattern!r} in {base}")
        found.update(dict.fromkeys(matches))
    return list(found)


def unigram_entropy(dataset: Dataset) -> float:
    """Nats an id: the loss of a model that knows how often each id occurs and nothing else."""
    counts = torch.zeros(0, dtype=torch.int64)
    for start in range(0, len(dataset), PIECE):
        piece = dataset.window(start, min(PIECE, len(dataset) - start)).bincount(minlength=len(counts))
        piece[: len(counts)] += counts
        counts = piece
    share = counts[counts > 0].double() / len(dataset)
    return -math.fsum((share * share.log()).tolist())


def _standard_library(pattern: str) -> list[Path]:
    folder = Path(sysconfig.get_paths()["stdlib"])
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_STDLIB]
        found += [Path(parent, name) for name in names]
    return [path for path in sorted(found) if fnmatch(path.relative_to(folder).as_posix(), pattern)]
