"""The step of a pipeline as text: a row per rank, a character per slice of time."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

from parc.cost.figure import format_quantity
from parc.cost.schedule.timeline import TimedPass
from parc.render.style import DIM
from parc.render.terminal import Pen
from parc.report.step import Timeline

MAX_ROWS = 16  # the ranks in the middle are left out
FORWARD, BACKWARD, HALF, SUM, UPDATE = "\033[36m", "\033[35m", "\033[34m", "\033[33m", "\033[32m"
WAITS = "."
WEIGHTS = "#"
LEGEND = "a b c .. forward of microbatches 0 1 2 .., A B C .. backward, . waits"
HALVES = ", # backward of parameters"
TAIL = ", + sums gradients, = optimizer"


def draw_gantt(line: Timeline, pen: Pen) -> list[str]:
    """The rows, an axis of time and a legend."""
    label = len(str(line.ranks - 1)) + 9
    width = max(pen.width - label - 1, 20)
    length = line.seconds or line.end
    passes: list[list[TimedPass]] = [[] for _ in range(line.ranks)]
    for event in line.events:
        passes[event.rank].append(event)
    shown = [*range(line.ranks)]
    if line.ranks > MAX_ROWS:
        shown = [*range(MAX_ROWS // 2), *range(line.ranks - MAX_ROWS // 2, line.ranks)]
    rows = []
    for rank in shown:
        if rank and rank - 1 not in shown:
            rows.append(f"  .. {line.ranks - MAX_ROWS:,} more")
        rows.append(
            f"  stage {rank:<{label - 9}} "
            + _paint_cells(_choose_cells(line, passes[rank], rank, width, length), pen)
        )
    end = format_quantity(length, "s") if line.seconds else f"{length:g} units"
    axis = f"0{end:>{width - 1}}"
    halves = any(event.kind == "weights" for event in line.events)
    legend = LEGEND + (HALVES if halves else "") + (TAIL if line.tails else "")
    return [*rows, pen.paint(DIM, " " * label + axis), *pen.fold(legend, 2, DIM)]


def _choose_cells(line: Timeline, passes: Sequence[TimedPass], rank: int, width: int, length: float) -> str:
    """One character for each slice of time: what the rank does in the middle of it."""
    cells, coming = [], iter(passes)
    event = next(coming, None)
    for cell in range(width):
        now = (cell + 0.5) / width * length
        while event is not None and event.end <= now:
            event = next(coming, None)
        if event is None:
            cells.append(_choose_tail(line, rank, now))
        elif event.begin > now:
            cells.append(WAITS)
        else:
            cells.append(_choose_letter(event))
    return "".join(cells)


def _choose_letter(event: TimedPass) -> str:
    if event.kind == "weights":
        return WEIGHTS
    letters = ascii_lowercase if event.kind == "forward" else ascii_uppercase
    return letters[event.microbatch % len(letters)]


def _choose_tail(line: Timeline, rank: int, now: float) -> str:
    if not line.tails:
        return WAITS
    tail = line.tails[rank]
    if tail.begin <= now < tail.begin + tail.sums:
        return "+"
    return "=" if line.ready <= now < line.ready + tail.update else WAITS


def _paint_cells(cells: str, pen: Pen) -> str:
    """The cells, each run of one kind in its colour."""
    if not pen.color:
        return cells
    out, start = [], 0
    for at in range(1, len(cells) + 1):
        if at == len(cells) or _choose_style(cells[at]) != _choose_style(cells[start]):
            out.append(pen.paint(_choose_style(cells[start]), cells[start:at]))
            start = at
    return "".join(out)


def _choose_style(cell: str) -> str:
    if cell.islower():
        return FORWARD
    if cell.isupper():
        return BACKWARD
    return {WEIGHTS: HALF, "+": SUM, "=": UPDATE}.get(cell, DIM)
