"""The progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

LINES = 20  # of a whole run, where there is no terminal
BAR = 30  # characters


class Progress:
    """Shows step, loss, tokens/s and the time left on `stream`, for a run of `steps`."""

    def __init__(
        self, steps: int, stream: TextIO = sys.stderr, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.steps = steps
        self.stream = stream
        self.clock = clock
        self.start = clock()
        self.done = 0
        self.terminal = stream.isatty()

    def update(self, figures: Mapping[str, float]) -> None:
        """Reports a step; `figures` are those that `Trainer.step` returned."""
        self.done += 1
        left = (self.clock() - self.start) / self.done * (self.steps - self.done)
        width = len(str(self.steps))
        text = (
            f"step {self.done:>{width}}/{self.steps}  loss {figures['loss']:.4f}  "
            f"{figures['tokens_per_second']:,.0f} tokens/s  {format_duration(left)} left"
        )
        if self.terminal:
            self._draw(text)
        elif self.done == self.steps or self.done % max(1, self.steps // LINES) == 0:
            print(text, file=self.stream, flush=True)

    def _draw(self, text: str) -> None:
        full = BAR * self.done // self.steps
        line = f"[{'#' * full}{'.' * (BAR - full)}] {text}"[: shutil.get_terminal_size().columns - 1]
        end = "\n" if self.done == self.steps else ""
        print(f"\r\x1b[K{line}", end=end, file=self.stream, flush=True)  # \x1b[K clears the line


def format_duration(seconds: float) -> str:
    """Seconds as `0:07`, `12:34` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
