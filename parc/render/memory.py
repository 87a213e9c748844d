"""Memory as bars: a row per stage, its kinds of data side by side, relative to the memory of a device."""

from __future__ import annotations

from parc.cost.figure import Figure, format_quantity
from parc.render.style import DIM
from parc.render.terminal import Pen, format_figure
from parc.report.overview import Overview

MAX_ROWS = 16
KINDS = {
    "parameters": ("P", "\033[34m"),
    "gradients": ("G", "\033[36m"),
    "optimizer": ("O", "\033[32m"),
    "activations": ("A", "\033[33m"),
    "logits": ("L", "\033[31m"),
    "working": ("W", "\033[35m"),
}


def draw_memory(overview: Overview, pen: Pen) -> list[str]:
    known = [(stage.index, stage.memory) for stage in overview.stages if stage.memory]
    if not known:
        return []
    most = max(figure.value for _, figure in known)
    scale = overview.limit if overview.limit and most > overview.limit / 4 else most
    label, values = len(str(known[-1][0])) + 9, [format_figure(figure) for _, figure in known]
    width = max(pen.width - label - max(map(len, values)) - (11 if overview.limit else 3), 8)
    rows = []
    for (index, figure), value in zip(known, values, strict=True):
        if len(known) > MAX_ROWS and MAX_ROWS // 2 <= index < len(known) - MAX_ROWS // 2:
            if index == MAX_ROWS // 2:
                rows.append(f"  .. {len(known) - MAX_ROWS:,} more")
            continue
        share = f"  {figure.value / overview.limit:6.1%}" if overview.limit else ""
        bar = _draw_bar(figure, scale, width, pen, bool(overview.limit and figure.value > overview.limit))
        rows.append(f"  stage {index:<{label - 9}} {bar} {value:>{max(map(len, values))}}{share}")
    limit = (
        f"{format_quantity(overview.limit, 'B')} per device"
        if overview.limit
        else "the device of the cluster has no `memory`"
    )
    named = {part.name for _, figure in known for part in figure.parts if part.value}
    kinds = [(name, *KINDS[name]) for name in KINDS if name in named]
    legend = "  " + ", ".join(pen.paint(style, letter) + f" {name}" for name, letter, style in kinds)
    if pen.width < 14 * len(kinds):
        legend = "  " + ", ".join(letter for _, letter, _ in kinds)
    return [
        *pen.draw_title("MEMORY", f"one rank at its peak; {limit}"),
        *rows,
        legend,
        *_draw_parts(known, pen),
    ]


def _draw_bar(figure: Figure, scale: float, width: int, pen: Pen, over: bool) -> str:
    """The kinds in proportion to their shares. Running sums are rounded, so that the total is right, too."""
    out, so_far, drawn = [], 0.0, 0
    for part in figure.parts:
        letter, style = KINDS.get(part.name, ("?", DIM))
        so_far += part.value
        end = min(round(so_far / scale * width), width)
        glyph = "█" if pen.color and pen.blocks else letter
        out.append(pen.paint(style, glyph * (end - drawn)))
        drawn = max(drawn, end)
    return (
        "".join(out) + pen.paint(DIM, "." * (width - drawn)) + (pen.paint("\033[1;31m", "!") if over else "|")
    )


def _draw_parts(known: list[tuple[int, Figure]], pen: Pen) -> list[str]:
    """The kinds of data of the stage that needs most."""
    index, figure = max(known, key=lambda each: each[1].value)
    parts = ", ".join(f"{part.name} {format_figure(part)}" for part in figure.parts if part.value)
    return pen.fold(f"stage {index}: {parts}", 2, DIM)
