"""`parc explain` as text: sections from the mesh to the step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from parc.check.claims.verdict import Verdict
from parc.cost.figure import Figure
from parc.render.gantt import gantt
from parc.render.memory import memory
from parc.render.terminal import DIM, LEGEND, Pen, derivation, plural, told
from parc.render.text import GREEN, RED, printable
from parc.report.groups import formula, ranges, units
from parc.report.link_traffic import Crossing
from parc.report.missing import Missing
from parc.report.overview import Overview
from parc.report.stages import StageRow

ROWS = 16  # of a table of stages
VERDICTS = {True: GREEN, False: RED, None: DIM}


def render(of: Overview, pen: Pen, verbose: bool = False) -> str:
    lines = [*_head(of, pen), *_groups(of, pen), *_stages(of, pen)]
    lines += [*memory(of, pen), *_traffic(of, pen), *_step(of, pen), *_claims(of, pen), *_missing(of, pen)]
    lines += ["", *pen.folded(LEGEND + ("" if verbose else "; -v shows how each came about"), 0, DIM)]
    if verbose:
        lines += pen.title("DERIVATIONS")
        lines += [printable(line) for figure in figures(of) for line in derivation(figure)]
    return "\n".join(lines) + "\n"


def figures(of: Overview) -> Iterator[Figure]:
    """Every figure, in the order of the page, those of stages with the stages that have the same."""
    yield from _by_stages((stage.parameters, stage.share, stage.memory) for stage in of.stages)
    yield from _by_stages([each.sent for each in traffic] for traffic in of.traffic)
    yield from (each for each in (of.flops, of.bubble) if each)
    if of.step:
        known = (of.step.time, of.step.waits, of.step.mfu, of.step.tokens)
        yield from (each for each in known if each)


def _by_stages(stages: Iterable[Iterable[Figure | None]]) -> Iterator[Figure]:
    found: dict[Figure, list[int]] = {}
    for index, some in enumerate(stages):
        for figure in some:
            if figure:
                found.setdefault(figure, []).append(index)
    for figure, indices in found.items():
        yield replace(figure, name=f"stage{'s' if len(indices) > 1 else ''} {_runs(indices)}: {figure.name}")


def _runs(numbers: list[int]) -> str:
    """`0, 2-5`"""
    runs: list[range] = []
    for number in numbers:
        if runs and runs[-1].stop == number:
            runs[-1] = range(runs[-1].start, number + 1)
        else:
            runs.append(range(number, number + 1))
    return ", ".join(map(run, runs))


def _head(of: Overview, pen: Pen) -> list[str]:
    plan, mesh = of.plan, of.plan.mesh
    sizes = " x ".join(f"{axis.name} {axis.size}" for axis in mesh.axes)
    levels = " x ".join(f"{level.name} {level.size}" for level in plan.cluster.levels)
    used = "all used" if mesh.size == plan.cluster.devices else f"{mesh.size:,} used"
    title = f"plan {plan.name}: {plural(mesh.size, 'rank')}"
    names = f"train {plan.train.name}, model {plan.train.model.name}, cluster {plan.cluster.name}"
    batch = plan.train.batch
    whole = f"{batch.sequences:,} sequences x {batch.length:,} tokens"
    parts = plural(batch.microbatches, "microbatch", "microbatches")
    return [
        *pen.title(title, names)[1:],
        *pen.folded(f"mesh     {sizes}   rank = {formula(plan)}", 2),
        *pen.folded(f"cluster  {levels} = {plural(plan.cluster.devices, 'device')}, {used}", 2),
        *pen.folded(f"batch    {whole} in {parts}", 2),
    ]


def _groups(of: Overview, pen: Pen) -> list[str]:
    rows = [
        (
            each.carried.title,
            " x ".join(each.carried.axes),
            f"{each.count:,}",
            f"{each.size:,}",
            ", ".join(units(each.span)) or "all in one",
            ranges(each.first),
        )
        for each in of.groups
    ]
    head = ("strategy", "over", "groups", "ranks", "one spans", "rank 0's group")
    return [*pen.title("GROUPS"), *pen.table(head, rows, "<<>><<")] if rows else []


def _stages(of: Overview, pen: Pen) -> list[str]:
    known = of.plan.train.model.shape
    rows = []
    for stage in shortened(of.stages):
        if stage is None:
            rows.append(("..", f"{len(of.stages) - ROWS:,} more", "", "", "", ""))
            continue
        experts = f"{stage.experts} of {known.experts}" if stage.experts else "-"
        layers = ", ".join(run(each) for each in stage.layers)
        held = (pen.told(stage.parameters), pen.told(stage.share))
        rows.append((str(stage.index), layers, str(stage.moe_layers), experts, *held))
    head = ("stage", "layers", "MoE layers", "experts", "parameters", "FLOPs")
    return [*pen.title("STAGES", "of one rank"), *pen.table(head, rows, "><>>>>")]


def shortened(stages: tuple[StageRow, ...]) -> Iterator[StageRow | None]:
    """All of a few; else the first and the last, and None for those between."""
    if len(stages) <= ROWS:
        yield from stages
        return
    yield from stages[: ROWS // 2]
    yield None
    yield from stages[-ROWS // 2 :]


def run(layers: range) -> str:
    if not layers:
        return "none"
    return str(layers.start) if len(layers) == 1 else f"{layers.start}-{layers.stop - 1}"


def _traffic(of: Overview, pen: Pen) -> list[str]:
    if not of.traffic:
        return []
    busiest = max(range(len(of.traffic)), key=lambda at: sum(each.sent.value for each in of.traffic[at]))
    rows = [
        (each.carried.title, " x ".join(each.carried.axes), each.level, told(each.sent), _calls(each))
        for each in of.traffic[busiest]
    ]
    more = f"one rank of stage {busiest} sends in a step"
    if len(of.traffic) > 1:
        more += ", none sends more"
    if not rows:
        return [*pen.title("TRAFFIC", more), "  nothing"]
    head = ("strategy", "over", "link", "sent", "calls")
    return [*pen.title("TRAFFIC", more), *pen.table(head, rows, "<<<><")]


def _calls(of: Crossing) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in of.calls)


def _step(of: Overview, pen: Pen) -> list[str]:
    if of.step is None:
        return []
    found, layout = of.step, of.job.parallelism if of.job else None
    schedule = ""
    if layout:
        schedule = f"{layout.schedule}, {plural(layout.microbatches, 'microbatch', 'microbatches')}"
    if found.time is None:
        more = f"{schedule}; in units of a forward pass, since no time is known"
        facts = [f"waits {pen.told(found.waits)}"]
    else:
        more = schedule
        facts = [f"step {told(found.time)}", f"MFU {pen.told(found.mfu)}"]
        facts += [f"{pen.told(found.tokens)} tokens/s", f"waits {pen.told(found.waits)}"]
    if of.bubble:
        facts.append(f"bubble {told(of.bubble)}")
    if of.flops:
        facts.append(f"{told(of.flops)} a device")
    lines = gantt(found.timeline, pen) if found.timeline else []
    return [*pen.title("STEP", more), *pen.folded("   ".join(facts), 2), *lines]


def _claims(of: Overview, pen: Pen) -> list[str]:
    if not of.claims:
        return []
    rows = [(verdict(each), claim(each), _found(each)) for each in of.claims]
    head, *lines = pen.table(("verdict", "claim", "figure"), rows, "<<<")
    styles = [VERDICTS[each.holds] for each in of.claims]
    painted = [pen.paint(style, line) for style, line in zip(styles, lines, strict=True)]
    return [*pen.title("CLAIMS", "of `expect`"), head, *painted]


def claim(of: Verdict) -> str:
    return " ".join(of.claim.span.text.split())


def verdict(of: Verdict) -> str:
    """`?` where an error as large as the cost model's usual one would turn it."""
    if of.holds is None:
        return "open"
    return ("holds" if of.holds else "false") + ("?" if of.doubtful else "")


def _found(of: Verdict) -> str:
    return f"{told(of.figure)}: {of.figure.how}" if of.figure else of.missing


def _missing(of: Overview, pen: Pen) -> list[str]:
    if not of.missing:
        return []
    return [*pen.title("NOT TOLD"), *(line for each in of.missing for line in absent(each, pen))]


def absent(of: Missing, pen: Pen) -> list[str]:
    """What is not told and why; what to add is never broken, so that it can be copied."""
    add = (printable(f"      {each}") for each in of.add)
    where = pen.folded(f"add {of.where}:", 4) if of.add else []
    return [*pen.folded(f"{of.what}: {of.why}", 2), *where, *add]
