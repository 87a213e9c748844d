"""The figures of each step as JSON lines, and for TensorBoard where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType


class MetricsWriter:
    """Writes `folder/metrics.jsonl`, a line a step, readable while the run goes on. For one rank of a run."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines = (folder / "metrics.jsonl").open("w", encoding="utf-8")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.board = None
        else:
            self.board = SummaryWriter(str(folder))

    def write(self, figures: Mapping[str, float]) -> None:
        """Writes one step, number `figures["step"]`. Infinity and NaN, which JSON lacks, become null."""
        finite = {name: value if math.isfinite(value) else None for name, value in figures.items()}
        self.lines.write(json.dumps(finite) + "\n")
        self.lines.flush()
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
