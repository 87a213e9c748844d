"""The progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TextIO

LINES = 20  # of a whole run, where there is no terminal
EVERY = 60.0  # seconds; a line at least that often, where there is no terminal
BAR = 30  # characters


class Progress:
    """Shows step, loss, tokens/s and the time left on `stream`, for a run of `steps`.

    Where there is no terminal, a step that takes longer than `every` seconds is reported while it goes on.
    """

    def __init__(
        self,
        steps: int,
        stream: TextIO = sys.stderr,
        clock: Callable[[], float] = time.monotonic,
        every: float = EVERY,
    ) -> None:
        self.steps = steps
        self.stream = stream
        self.clock = clock
        self.every = every
        self.start = self.shown = clock()
        self.done = 0
        self.terminal = stream.isatty()
        self.closed = threading.Event()
        if not self.terminal:
            threading.Thread(target=self._report_long_steps, daemon=True).start()

    def update(self, figures: Mapping[str, float]) -> None:
        """Reports a step; `figures` are those that `Trainer.step` returned."""
        self.done += 1
        now = self.clock()
        left = (now - self.start) / self.done * (self.steps - self.done)
        text = (
            f"{self._format_step(self.done)}  loss {figures['loss']:.4f}  "
            f"{figures['tokens_per_second']:,.0f} tokens/s  {format_duration(left)} left"
        )
        last = self.done == self.steps
        if self.terminal:
            self._draw(text)
        elif last or self.done % max(1, self.steps // LINES) == 0 or now - self.shown >= self.every:
            self._print(text, now)
        if last:
            self.closed.set()

    def _report_long_steps(self) -> None:
        """Runs in a thread until the last step is done."""
        while not self.closed.wait(self.every / 4):
            now = self.clock()
            if now - self.shown >= self.every:
                running = format_duration(now - self.start)
                self._print(f"{self._format_step(self.done)}  {running} since the start, a step goes on", now)

    def _format_step(self, step: int) -> str:
        return f"step {step:>{len(str(self.steps))}}/{self.steps}"

    def _print(self, text: str, now: float) -> None:
        self.shown = now
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
