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
from parc.report.groups import format_ranks, format_units
from parc.report.link_traffic import LinkTraffic
from parc.report.missing import MissingFigures
from parc.report.overview import Overview
from parc.report.stages import StageRow

MAX_ROWS = 16  # of a table of stages
VERDICTS = {True: GREEN, False: RED, None: DIM}


def render(overview: Overview, pen: Pen, verbose: bool = False) -> str:
    lines = [*_draw_head(overview, pen), *_draw_groups(overview, pen), *_draw_stages(overview, pen)]
    lines += [
        *draw_memory(overview, pen),
        *_draw_traffic(overview, pen),
        *_draw_step(overview, pen),
        *_draw_claims(overview, pen),
        *_draw_missing(overview, pen),
    ]
    lines += ["", *pen.fold(LEGEND + ("" if verbose else "; -v shows their derivations"), 0, DIM)]
    if verbose:
        lines += pen.draw_title("DERIVATIONS")
        lines += [
            escape_controls(line) for figure in list_figures(overview) for line in draw_derivation(figure)
        ]
    return "\n".join(lines) + "\n"


def list_figures(overview: Overview) -> Iterator[Figure]:
    """All figures in the order of the page. Equal figures of several stages are merged."""
    yield from (each for each in (overview.parameters, overview.active) if each)
    yield from _merge_stages((stage.parameters, stage.share, stage.memory) for stage in overview.stages)
    yield from _merge_stages([each.sent for each in traffic] for traffic in overview.traffic)
    yield from (each for each in (overview.flops, overview.bubble) if each)
    if overview.step:
        known = (overview.step.time, overview.step.waits, overview.step.mfu, overview.step.tokens)
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


def _draw_head(overview: Overview, pen: Pen) -> list[str]:
    plan, mesh = overview.plan, overview.plan.mesh
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in mesh.axes)
    levels = " x ".join(f"{level.name} {level.size}" for level in plan.cluster.levels)
    used = "all used" if mesh.size == plan.cluster.devices else f"{mesh.size:,} used"
    title = f"plan {plan.name}: {format_count(mesh.size, 'rank')}"
    names = f"train {plan.train.name}, model {plan.train.model.name}, cluster {plan.cluster.name}"
    batch = plan.train.batch
    whole = f"{batch.sequences:,} sequences x {batch.length:,} tokens"
    parts = format_count(batch.microbatches, "microbatch", "microbatches")
    model = []
    if overview.parameters and overview.active:
        active = f"{format_figure(overview.active)} active in the matmuls of a token"
        model = pen.fold(f"model    {format_figure(overview.parameters)} parameters, {active}", 2)
    return [
        *pen.draw_title(title, names)[1:],
        *model,
        *pen.fold(f"mesh     {sizes}   rank = {plan.mesh.format_rank()}", 2),
        *pen.fold(f"cluster  {levels} = {format_count(plan.cluster.devices, 'device')}, {used}", 2),
        *pen.fold(f"batch    {whole} in {parts}", 2),
    ]


def _draw_groups(overview: Overview, pen: Pen) -> list[str]:
    rows = [
        (
            each.strategy.title,
            " x ".join(each.strategy.axes),
            f"{each.count:,}",
            f"{each.size:,}",
            ", ".join(format_units(each.units)) or "all in one",
            format_ranks(each.first),
        )
        for each in overview.groups
    ]
    head = ("strategy", "over", "groups", "ranks", "one spans", "rank 0's group")
    return [*pen.draw_title("GROUPS"), *pen.draw_table(head, rows, "<<>><<")] if rows else []


def _draw_stages(overview: Overview, pen: Pen) -> list[str]:
    known = overview.plan.train.model.shape
    rows = []
    for stage in shorten_stages(overview.stages):
        if stage is None:
            rows.append(("..", f"{len(overview.stages) - MAX_ROWS:,} more", "", "", "", ""))
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


def _draw_traffic(overview: Overview, pen: Pen) -> list[str]:
    if not overview.traffic:
        return []
    busiest = max(
        range(len(overview.traffic)), key=lambda at: sum(each.sent.value for each in overview.traffic[at])
    )
    rows = [
        (
            each.strategy.title,
            " x ".join(each.strategy.axes),
            each.level,
            format_figure(each.sent),
            _format_calls(each),
        )
        for each in overview.traffic[busiest]
    ]
    more = f"one rank of stage {busiest} sends in a step"
    if len(overview.traffic) > 1:
        more += ", none sends more"
    if not rows:
        return [*pen.draw_title("TRAFFIC", more), "  nothing"]
    head = ("strategy", "over", "link", "sent", "calls")
    return [*pen.draw_title("TRAFFIC", more), *pen.draw_table(head, rows, "<<<><")]


def _format_calls(traffic: LinkTraffic) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in traffic.calls)


def _draw_step(overview: Overview, pen: Pen) -> list[str]:
    if overview.step is None:
        return []
    found, layout = overview.step, overview.job.parallelism if overview.job else None
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
    if overview.bubble:
        figures.append(f"bubble {format_figure(overview.bubble)}")
    if overview.flops:
        figures.append(f"{format_figure(overview.flops)} per device")
    lines = draw_gantt(found.timeline, pen) if found.timeline else []
    return [*pen.draw_title("STEP", more), *pen.fold("   ".join(figures), 2), *lines]


def _draw_claims(overview: Overview, pen: Pen) -> list[str]:
    if not overview.claims:
        return []
    rows = [(format_verdict(each), format_claim(each), _format_finding(each)) for each in overview.claims]
    head, *lines = pen.draw_table(("verdict", "claim", "figure"), rows, "<<<")
    styles = [VERDICTS[each.holds] for each in overview.claims]
    painted = [pen.paint(style, line) for style, line in zip(styles, lines, strict=True)]
    return [*pen.draw_title("CLAIMS", "of `expect`"), head, *painted]


def format_claim(verdict: Verdict) -> str:
    return " ".join(verdict.claim.span.text.split())


def format_verdict(verdict: Verdict) -> str:
    """The verdict; `?` if the usual error of the cost model could reverse it."""
    if verdict.holds is None:
        return "open"
    return ("holds" if verdict.holds else "false") + ("?" if verdict.doubtful else "")


def _format_finding(verdict: Verdict) -> str:
    return f"{format_figure(verdict.figure)}: {verdict.figure.how}" if verdict.figure else verdict.missing


def _draw_missing(overview: Overview, pen: Pen) -> list[str]:
    if not overview.missing:
        return []
    return [
        *pen.draw_title("UNKNOWN"),
        *(line for each in overview.missing for line in draw_missing(each, pen)),
    ]


def draw_missing(missing: MissingFigures, pen: Pen) -> list[str]:
    """The missing figures and the reason. Lines to add are not folded, so that they can be copied."""
    add = (escape_controls(f"      {each}") for each in missing.add)
    where = pen.fold(f"add {missing.where}:", 4) if missing.add else []
    return [*pen.fold(f"{missing.figures}: {missing.reason}", 2), *where, *add]
