"""What stands beside the text: derived sizes on its lines, figures above its plans."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Literal, NamedTuple, TypeAlias

from parc.check.claims.counts import bubble
from parc.check.claims.verdict import shown
from parc.check.costs import Costs, Unknown, costs
from parc.cost.figure import format_quantity
from parc.lsp.document.analysis import Analysis
from parc.plan.blocks import Plan
from parc.source import Span

Kind: TypeAlias = Literal["memory", "time", "picture", "build"]
KINDS: tuple[Kind, ...] = ("memory", "time", "picture", "build")


class Hint(NamedTuple):
    """`text` stands behind the offset."""

    offset: int
    text: str
    tip: str


class Lens(NamedTuple):
    """`title` has its words, which may take a moment to compute."""

    span: Span
    kind: Kind
    plan: str


def hints(analysis: Analysis, start: int, end: int) -> Iterator[Hint]:
    """Those that stand from one offset to another."""
    for plan in analysis.plans:
        block = analysis.whole(plan.span)
        if block.end < start or end < block.start:
            continue
        for span, text, tip in _derived(plan):
            whole = analysis.whole(span)
            if whole.source is analysis.source and start <= whole.end <= end:
                yield Hint(whole.end, f"= {text}", tip)


def _derived(plan: Plan) -> Iterator[tuple[Span, str, str]]:
    mesh, shape, batch = plan.mesh, plan.train.model.shape, plan.train.batch
    sizes = " x ".join(str(axis.size) for axis in mesh.axes)
    yield plan.at("mesh"), f"{mesh.size:,} ranks", f"{sizes} = {mesh.size:,}"
    if plan.data:
        ranks = mesh.product(plan.data.axes)
        each, rest = divmod(batch.sequences, batch.microbatches * ranks)
        if not rest:
            how = f"{batch.sequences:,} / ({batch.microbatches:,} microbatches x {ranks:,} data ranks)"
            yield (
                plan.data.at("axes"),
                f"{each:,} sequence{'' if each == 1 else 's'} a rank and microbatch",
                how,
            )
    if plan.tensor and shape.heads:
        ranks = mesh.product(plan.tensor.axes)
        if shape.heads % ranks == 0:
            yield plan.tensor.at("axes"), f"{shape.heads // ranks:,} heads a rank", f"{shape.heads} / {ranks}"
    if plan.experts and shape.experts:
        ranks = mesh.product(plan.experts.axes)
        if shape.experts % ranks == 0:
            how = f"{shape.experts:,} / {ranks:,}"
            yield plan.experts.at("axes"), f"{shape.experts // ranks:,} experts a rank", how
    if plan.pipeline:
        yield from _of_pipeline(plan)


def _of_pipeline(plan: Plan) -> Iterator[tuple[Span, str, str]]:
    pipeline = plan.pipeline
    assert pipeline is not None
    ranks = plan.mesh.product(pipeline.axes)
    stages = f"{ranks * pipeline.chunks:,} stages, {plan.mesh.size // ranks:,} ranks each"
    how = f"{ranks:,} ranks x {pipeline.chunks:,} chunks"
    yield pipeline.at("axes"), f"{stages}{_bubble(costs(plan))}", how
    if "layers" not in pipeline.spans and pipeline.layers:
        few = sorted(set(pipeline.layers), reverse=True)
        layers = " or ".join(f"{each:,}" for each in few)
        yield pipeline.at("axes"), f"{layers} layers a stage", "as even as can be"


def _bubble(of: Costs) -> str:
    try:
        return f", bubble {shown(bubble(of))}"
    except Unknown:
        return ""


def lenses(analysis: Analysis, runs: Collection[str], trusted: bool) -> Iterator[Lens]:
    """Above each plan: its costs, and what the client runs of picture and, where it is trusted, build."""
    can = {"memory", "time", *(runs if trusted else {*runs} - {"build"})}
    for plan in analysis.plans:
        span = analysis.whole(plan.at("name"))
        yield from (Lens(span, kind, plan.name) for kind in KINDS if kind in can)


def title(analysis: Analysis, kind: str, name: str) -> str:
    """What a lens says; nothing where the plan is no more."""
    plan = next((plan for plan in analysis.plans if plan.name == name), None)
    if plan is None:
        return ""
    if kind == "memory":
        return _memory(costs(plan))
    if kind == "time":
        return _time(costs(plan))
    return "open the picture" if kind == "picture" else "build"


def _memory(of: Costs) -> str:
    try:
        peak = max(of.memory, key=lambda figure: figure.value)
    except Unknown as reason:
        return f"memory unknown: {reason}"
    device = of.plan.cluster.device
    room = f" of {format_quantity(device.memory, 'B')}" if device and device.memory else ""
    return f"{shown(peak)}{room} a GPU ({peak.grade})"


def _time(of: Costs) -> str:
    try:
        return f"{shown(of.step_figure)} a step ({of.step_figure.grade}), MFU {shown(of.mfu_figure)}"
    except Unknown as reason:
        return f"step time unknown: {reason}"
