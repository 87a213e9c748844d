"""`parc explain --rank N` as text."""

from __future__ import annotations

from collections.abc import Iterator

from parc.cost.figure import Figure
from parc.render.overview import absent, run
from parc.render.terminal import AXES, DIM, LEGEND, Pen, derivation, told
from parc.render.text import BOLD, printable
from parc.report.groups import ranges
from parc.report.overview import Overview
from parc.report.rank import Peers, RankFacts

PEERS = 8  # runs of ranks that are told of a group


def render(of: Overview, facts: RankFacts, pen: Pen, verbose: bool = False) -> str:
    lines = [*_head(of, facts, pen), *_peers(facts.axes, "AXES", pen)]
    if any(len(each.carried.axes) > 1 or each.carried.key.startswith("expert") for each in facts.strategies):
        lines += _peers(facts.strategies, "GROUPS", pen)
    lines += _figure(facts.holds, "HOLDS", "at its fullest", pen, verbose)
    lines += _figure(facts.buffers, "BUFFERS", "gives to collectives and sends in a step", pen, verbose)
    for each in of.missing:
        lines += [*pen.title("NOT TOLD"), *absent(each, pen)]
    return "\n".join([*lines, "", *pen.folded(LEGEND, 0, DIM)]) + "\n"


def _head(of: Overview, facts: RankFacts, pen: Pen) -> Iterator[str]:
    stage = facts.stage
    where = ", ".join(f"{name} {index}" for name, index in facts.place)
    yield pen.paint(BOLD, printable(f"rank {facts.rank} of plan {of.plan.name}")) + pen.paint(
        DIM, f"  {where}"
    )
    yield "  at         " + ", ".join(f"{name} = {index}" for name, index in facts.coordinates.items())
    layers = ", ".join(run(each) for each in stage.layers)
    yield f"  stage      {stage.index} of {len(of.stages)}: layers {layers}"
    if facts.experts:
        total = of.plan.train.model.shape.experts
        yield f"  experts    {run(facts.experts)} of {total}, in each of {stage.moe_layers} MoE layers"
    yield f"  sequences  {run(facts.sequences)} of the first microbatch"


def _peers(groups: tuple[Peers, ...], title: str, pen: Pen) -> list[str]:
    rows = [
        (
            each.carried.title,
            " x ".join(each.carried.axes),
            f"{each.position} of {len(each.ranks):,}",
            ranges(each.ranks, PEERS),
        )
        for each in groups
    ]
    if title == "AXES":
        table = pen.table(("axis", "place", "ranks"), [row[1:] for row in rows], "<><")
        painted = [pen.paint(AXES[at % len(AXES)], line) for at, line in enumerate(table[1:])]
        return [*pen.title(title, "this rank's group along each"), table[0], *painted]
    table = pen.table(("strategy", "over", "place", "ranks"), rows, "<<><")
    return [*pen.title(title, "this rank's group for each strategy"), *table]


def _figure(figure: Figure | None, title: str, more: str, pen: Pen, verbose: bool) -> list[str]:
    if figure is None:
        return []
    lines = pen.title(title, more)
    if verbose:
        return lines + [printable(line) for line in derivation(figure)]
    rows = [(part.name, told(part)) for part in figure.parts if part.value]
    table = pen.table(("", ""), [*rows, ("together", told(figure))], "<>")
    return [*lines, *table[1:]]
