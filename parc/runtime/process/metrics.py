"""The figures of each step as JSON lines, and for TensorBoard where it is installed."""

from __future__ import annotations

import fcntl
import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from io import FileIO
from itertools import count
from pathlib import Path
from types import TracebackType


class MetricsWriter:
    """Writes `folder/metrics.jsonl`, a line a step, readable while the run goes on. For one rank of a run.

    The lines of a run follow those of the runs before it. While another run writes there, this one writes to
    `metrics-2.jsonl`, or to the next that is free: `file`.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = next(lines for file in _list_files(folder) if (lines := _open_alone(file)) is not None)
        self.file = Path(os.fsdecode(self.lines.name))
        if self.file.name != "metrics.jsonl":
            print(
                f"another run writes to {folder}: the metrics of this one are in {self.file}", file=sys.stderr
            )
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder))

    def write(self, figures: Mapping[str, float]) -> None:
        """Writes one step, number `figures["step"]`. Infinity and NaN, which JSON lacks, become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self.lines.write(f"{json.dumps(finite)}\n".encode())
        if self.board is not None:
            for name, value in figures.items():
                if name != "step":
                    self.board.add_scalar(name, value, int(figures["step"]))

    def close(self) -> None:
        self.lines.close()
        if self.board is not None:
            self.board.close()

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _list_files(folder: Path) -> Iterator[Path]:
    yield folder / "metrics.jsonl"
    yield from (folder / f"metrics-{number}.jsonl" for number in count(2))


def _open_alone(file: Path) -> FileIO | None:
    """The file, to add whole lines to it; None while another run has it open."""
    lines = FileIO(str(file), "a+")
    try:
        fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)  # until it is closed, or the process ends
    except BlockingIOError:
        lines.close()
        return None
    except OSError:
        pass  # a file system without locks: lines are written whole all the same
    if (size := lines.seek(0, os.SEEK_END)) and os.pread(lines.fileno(), 1, size - 1) != b"\n":
        lines.write(b"\n")  # a run that was killed may have left half a line
    return lines
