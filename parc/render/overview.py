"""An overview of a plan as text, in sections from the mesh to the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from parc.check.claims.verdict import Verdict
from parc.cost.figure import Figure
from parc.render.gantt import draw_gantt
from parc.render.memory import draw_memory
from parc.render.style import DIM, GREEN, RED, escape_controls
from parc.render.terminal import LEGEND, Pen, draw_derivation, format_count, format_figure
from parc.report.groups import format_rank_formula, format_ranks, format_units
from parc.report.link_traffic import LinkTraffic
from parc.report.missing import MissingFigures
from parc.report.overview import Overview
from parc.report.stages import StageRow

MAX_ROWS = 16  # of a table of stages
VERDICTS = {True: GREEN, False: RED, None: DIM}


def render(of: Overview, pen: Pen, verbose: bool = False) -> str:
    lines = [*_draw_head(of, pen), *_draw_groups(of, pen), *_draw_stages(of, pen)]
    lines += [
        *draw_memory(of, pen),
        *_draw_traffic(of, pen),
        *_draw_step(of, pen),
        *_draw_claims(of, pen),
        *_draw_missing(of, pen),
    ]
    lines += ["", *pen.fold(LEGEND + ("" if verbose else "; -v shows their derivations"), 0, DIM)]
    if verbose:
        lines += pen.draw_title("DERIVATIONS")
        lines += [escape_controls(line) for figure in list_figures(of) for line in draw_derivation(figure)]
    return "\n".join(lines) + "\n"


def list_figures(of: Overview) -> Iterator[Figure]:
    """All figures in the order of the page. Equal figures of several stages are merged."""
    yield from _merge_stages((stage.parameters, stage.share, stage.memory) for stage in of.stages)
    yield from _merge_stages([each.sent for each in traffic] for traffic in of.traffic)
    yield from (each for each in (of.flops, of.bubble) if each)
    if of.step:
        known = (of.step.time, of.step.waits, of.step.mfu, of.step.tokens)
        yield from (each for each in known if each)


def _merge_stages(stages: Iterable[Iterable[Figure | None]]) -> Iterator[Figure]:
    found: dict[Figure, list[int]] = {}
    for index, some in enumerate(stages):
        for figure in some:
            if figure:
                found.setdefault(figure, []).append(index)
    for figure, indices in found.items():
        yield replace(
            figure, name=f"stage{'s' if len(indices) > 1 else ''} {_format_runs(indices)}: {figure.name}"
        )


def _format_runs(numbers: list[int]) -> str:
    """`0, 2-5`"""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return ", ".join(map(format_range, runs))


def _draw_head(of: Overview, pen: Pen) -> list[str]:
    plan, mesh = of.plan, of.plan.mesh
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in mesh.axes)
    levels = " x ".join(f"{level.name} {level.size}" for level in plan.cluster.levels)
    used = "all used" if mesh.size == plan.cluster.devices else f"{mesh.size:,} used"
    title = f"plan {plan.name}: {format_count(mesh.size, 'rank')}"
    names = f"train {plan.train.name}, model {plan.train.model.name}, cluster {plan.cluster.name}"
    batch = plan.train.batch
    whole = f"{batch.sequences:,} sequences x {batch.length:,} tokens"
    parts = format_count(batch.microbatches, "microbatch", "microbatches")
    return [
        *pen.draw_title(title, names)[1:],
        *pen.fold(f"mesh     {sizes}   rank = {format_rank_formula(plan)}", 2),
        *pen.fold(f"cluster  {levels} = {format_count(plan.cluster.devices, 'device')}, {used}", 2),
        *pen.fold(f"batch    {whole} in {parts}", 2),
    ]


def _draw_groups(of: Overview, pen: Pen) -> list[str]:
    rows = [
        (
            each.strategy.title,
            " x ".join(each.strategy.axes),
            f"{each.count:,}",
            f"{each.size:,}",
            ", ".join(format_units(each.units)) or "all in one",
            format_ranks(each.first),
        )
        for each in of.groups
    ]
    head = ("strategy", "over", "groups", "ranks", "one spans", "rank 0's group")
    return [*pen.draw_title("GROUPS"), *pen.draw_table(head, rows, "<<>><<")] if rows else []


def _draw_stages(of: Overview, pen: Pen) -> list[str]:
    known = of.plan.train.model.shape
    rows = []
    for stage in shorten_stages(of.stages):
        if stage is None:
            rows.append(("..", f"{len(of.stages) - MAX_ROWS:,} more", "", "", "", ""))
            continue
        experts = f"{stage.experts} of {known.experts}" if stage.experts else "-"
        layers = ", ".join(format_range(each) for each in stage.layers)
        held = (pen.format(stage.parameters), pen.format(stage.share))
        rows.append((str(stage.index), layers, str(stage.moe_layers), experts, *held))
    head = ("stage", "layers", "MoE layers", "experts", "parameters", "FLOPs")
    return [*pen.draw_title("STAGES", "of one rank"), *pen.draw_table(head, rows, "><>>>>")]


def shorten_stages(stages: tuple[StageRow, ...]) -> Iterator[StageRow | None]:
    """All stages if they are few; otherwise the first and the last, and None for those in between."""
    if len(stages) <= MAX_ROWS:
        yield from stages
        return
    yield from stages[: MAX_ROWS // 2]
    yield None
    yield from stages[-MAX_ROWS // 2 :]


def format_range(layers: range) -> str:
    if not layers:
        return "none"
    return str(layers.start) if len(layers) == 1 else f"{layers.start}-{layers.stop - 1}"


def _draw_traffic(of: Overview, pen: Pen) -> list[str]:
    if not of.traffic:
        return []
    busiest = max(range(len(of.traffic)), key=lambda at: sum(each.sent.value for each in of.traffic[at]))
    rows = [
        (
            each.strategy.title,
            " x ".join(each.strategy.axes),
            each.level,
            format_figure(each.sent),
            _format_calls(each),
        )
        for each in of.traffic[busiest]
    ]
    more = f"one rank of stage {busiest} sends in a step"
    if len(of.traffic) > 1:
        more += ", none sends more"
    if not rows:
        return [*pen.draw_title("TRAFFIC", more), "  nothing"]
    head = ("strategy", "over", "link", "sent", "calls")
    return [*pen.draw_title("TRAFFIC", more), *pen.draw_table(head, rows, "<<<><")]


def _format_calls(of: LinkTraffic) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in of.calls)


def _draw_step(of: Overview, pen: Pen) -> list[str]:
    if of.step is None:
        return []
    found, layout = of.step, of.job.parallelism if of.job else None
    schedule = ""
    if layout:
        schedule = f"{layout.schedule}, {format_count(layout.microbatches, 'microbatch', 'microbatches')}"
    if found.time is None:
        more = f"{schedule}; in units of a forward pass, since the time is unknown"
        figures = [f"waits {pen.format(found.waits)}"]
    else:
        more = schedule
        figures = [f"step {format_figure(found.time)}", f"MFU {pen.format(found.mfu)}"]
        figures += [f"{pen.format(found.tokens)} tokens/s", f"waits {pen.format(found.waits)}"]
    if of.bubble:
        figures.append(f"bubble {format_figure(of.bubble)}")
    if of.flops:
        figures.append(f"{format_figure(of.flops)} per device")
    lines = draw_gantt(found.timeline, pen) if found.timeline else []
    return [*pen.draw_title("STEP", more), *pen.fold("   ".join(figures), 2), *lines]


def _draw_claims(of: Overview, pen: Pen) -> list[str]:
    if not of.claims:
        return []
    rows = [(format_verdict(each), format_claim(each), _format_finding(each)) for each in of.claims]
    head, *lines = pen.draw_table(("verdict", "claim", "figure"), rows, "<<<")
    styles = [VERDICTS[each.holds] for each in of.claims]
    painted = [pen.paint(style, line) for style, line in zip(styles, lines, strict=True)]
    return [*pen.draw_title("CLAIMS", "of `expect`"), head, *painted]


def format_claim(of: Verdict) -> str:
    return " ".join(of.claim.span.text.split())


def format_verdict(of: Verdict) -> str:
    """The verdict; `?` if the usual error of the cost model could reverse it."""
    if of.holds is None:
        return "open"
    return ("holds" if of.holds else "false") + ("?" if of.doubtful else "")


def _format_finding(of: Verdict) -> str:
    return f"{format_figure(of.figure)}: {of.figure.how}" if of.figure else of.missing


def _draw_missing(of: Overview, pen: Pen) -> list[str]:
    if not of.missing:
        return []
    return [*pen.draw_title("UNKNOWN"), *(line for each in of.missing for line in draw_missing(each, pen))]


def draw_missing(of: MissingFigures, pen: Pen) -> list[str]:
    """The missing figures and the reason. Lines to add are not folded, so that they can be copied."""
    add = (escape_controls(f"      {each}") for each in of.add)
    where = pen.fold(f"add {of.where}:", 4) if of.add else []
    return [*pen.fold(f"{of.figures}: {of.reason}", 2), *where, *add]
