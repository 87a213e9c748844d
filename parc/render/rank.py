"""An overview of one rank as text."""

from __future__ import annotations

from collections.abc import Iterator

from parc.cost.figure import Figure
from parc.render.overview import draw_missing, format_range
from parc.render.style import BOLD, DIM, escape_controls
from parc.render.terminal import AXES, LEGEND, Pen, draw_derivation, format_figure
from parc.report.groups import format_ranks
from parc.report.overview import Overview
from parc.report.rank import Peers, RankOverview

MAX_RUNS = 8  # of consecutive ranks that are shown of a group


def render(overview: Overview, rank: RankOverview, pen: Pen, verbose: bool = False) -> str:
    lines = [*_draw_head(overview, rank, pen), *_draw_peers(rank.axes, "AXES", pen)]
    if any(len(each.strategy.axes) > 1 or each.strategy.key.startswith("expert") for each in rank.strategies):
        lines += _draw_peers(rank.strategies, "GROUPS", pen)
    lines += _draw_figure(rank.holds, "HOLDS", "at its peak", pen, verbose)
    lines += _draw_figure(rank.buffers, "BUFFERS", "passes to collectives and sends in a step", pen, verbose)
    for each in overview.missing:
        lines += [*pen.draw_title("UNKNOWN"), *draw_missing(each, pen)]
    return "\n".join([*lines, "", *pen.fold(LEGEND, 0, DIM)]) + "\n"


def _draw_head(overview: Overview, rank: RankOverview, pen: Pen) -> Iterator[str]:
    stage = rank.stage
    where = ", ".join(f"{name} {index}" for name, index in rank.place)
    yield pen.paint(BOLD, escape_controls(f"rank {rank.rank} of plan {overview.plan.name}")) + pen.paint(
        DIM, f"  {where}"
    )
    yield "  at         " + ", ".join(f"{name} = {index}" for name, index in rank.coordinates.items())
    layers = ", ".join(format_range(each) for each in stage.layers)
    yield f"  stage      {stage.index} of {len(overview.stages)}: layers {layers}"
    if rank.experts:
        total = overview.plan.train.model.shape.experts
        experts = format_range(rank.experts)
        yield f"  experts    {experts} of {total}, in each of {stage.moe_layers} MoE layers"
    yield f"  sequences  {format_range(rank.sequences)} of the first microbatch"


def _draw_peers(groups: tuple[Peers, ...], title: str, pen: Pen) -> list[str]:
    rows = [
        (
            each.strategy.title,
            " x ".join(each.strategy.axes),
            f"{each.position} of {len(each.ranks):,}",
            format_ranks(each.ranks, MAX_RUNS),
        )
        for each in groups
    ]
    if title == "AXES":
        table = pen.draw_table(("axis", "place", "ranks"), [row[1:] for row in rows], "<><")
        painted = [pen.paint(AXES[at % len(AXES)], line) for at, line in enumerate(table[1:])]
        return [*pen.draw_title(title, "this rank's group along each"), table[0], *painted]
    table = pen.draw_table(("strategy", "over", "place", "ranks"), rows, "<<><")
    return [*pen.draw_title(title, "this rank's group for each strategy"), *table]


def _draw_figure(figure: Figure | None, title: str, more: str, pen: Pen, verbose: bool) -> list[str]:
    if figure is None:
        return []
    lines = pen.draw_title(title, more)
    if verbose:
        return lines + [escape_controls(line) for line in draw_derivation(figure)]
    rows = [(part.name, format_figure(part)) for part in figure.parts if part.value]
    table = pen.draw_table(("", ""), [*rows, ("total", format_figure(figure))], "<>")
    return [*lines, *table[1:]]
