"""A pipeline's step as text: a row a rank, a character a slice of time."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_lowercase, ascii_uppercase

from parc.cost.figure import format_quantity
from parc.cost.schedule.timeline import TimedPass
from parc.render.terminal import DIM, Pen
from parc.report.step import Timeline

ROWS = 16  # at most so many ranks; the others are left out in the middle
FORWARD, BACKWARD, HALF, SUM, UPDATE = "\033[36m", "\033[35m", "\033[34m", "\033[33m", "\033[32m"
WAITS = "."
WEIGHTS = "#"
LEGEND = "a b c .. forward of microbatches 0 1 2 .., A B C .. backward, . waits"
HALVES = ", # its second half: gradients of parameters"
TAIL = ", + sums gradients, = optimizer"


def gantt(line: Timeline, pen: Pen) -> list[str]:
    label = len(str(line.ranks - 1)) + 9
    width = max(pen.width - label - 1, 20)
    length = line.seconds or line.end
    passes: list[list[TimedPass]] = [[] for _ in range(line.ranks)]
    for event in line.events:
        passes[event.rank].append(event)
    shown = [*range(line.ranks)]
    if line.ranks > ROWS:
        shown = [*range(ROWS // 2), *range(line.ranks - ROWS // 2, line.ranks)]
    rows = []
    for rank in shown:
        if rank and rank - 1 not in shown:
            rows.append(f"  .. {line.ranks - ROWS:,} more")
        rows.append(
            f"  stage {rank:<{label - 9}} " + _painted(_cells(line, passes[rank], rank, width, length), pen)
        )
    end = format_quantity(length, "s") if line.seconds else f"{length:g} units"
    axis = f"0{end:>{width - 1}}"
    halves = any(event.kind == "weights" for event in line.events)
    legend = LEGEND + (HALVES if halves else "") + (TAIL if line.tails else "")
    return [*rows, pen.paint(DIM, " " * label + axis), *pen.folded(legend, 2, DIM)]


def _cells(line: Timeline, passes: Sequence[TimedPass], rank: int, width: int, length: float) -> str:
    """What goes on in the middle of each slice."""
    cells, coming = [], iter(passes)
    event = next(coming, None)
    for cell in range(width):
        now = (cell + 0.5) / width * length
        while event is not None and event.end <= now:
            event = next(coming, None)
        if event is None:
            cells.append(_after(line, rank, now))
        elif event.begin > now:
            cells.append(WAITS)
        else:
            cells.append(_letter(event))
    return "".join(cells)


def _letter(event: TimedPass) -> str:
    if event.kind == "weights":
        return WEIGHTS
    letters = ascii_lowercase if event.kind == "forward" else ascii_uppercase
    return letters[event.microbatch % len(letters)]


def _after(line: Timeline, rank: int, now: float) -> str:
    if not line.tails:
        return WAITS
    tail = line.tails[rank]
    if tail.begin <= now < tail.begin + tail.sums:
        return "+"
    return "=" if line.ready <= now < line.ready + tail.update else WAITS


def _painted(cells: str, pen: Pen) -> str:
    """Runs of one kind in one colour."""
    if not pen.color:
        return cells
    out, start = [], 0
    for at in range(1, len(cells) + 1):
        if at == len(cells) or _style(cells[at]) != _style(cells[start]):
            out.append(pen.paint(_style(cells[start]), cells[start:at]))
            start = at
    return "".join(out)


def _style(cell: str) -> str:
    if cell.islower():
        return FORWARD
    if cell.isupper():
        return BACKWARD
    return {WEIGHTS: HALF, "+": SUM, "=": UPDATE}.get(cell, DIM)
