"""The picture of a plan: the page of `parc explain --html`, and what it highlights for the cursor.

The messages to and from the page are listed in docs/explain.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from parc.check.engine import check_plan
from parc.diagnostic import has_errors
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.mentions import find_mention
from parc.plan.blocks import Plan
from parc.plan.placement import locate_layers
from parc.source import Span

VERSION = 1


class Picture(NamedTuple):
    plan: str
    html: str


def draw_picture(analysis: Analysis, name: str | None, offset: int | None = None) -> Picture | str:
    """The picture of a plan, by name or at an offset; or the reason why there is none."""
    from parc.render.page import render_page  # noqa: PLC0415 - start-up time: it imports jinja2
    from parc.report.overview import build_overview  # noqa: PLC0415 - start-up time: it imports jinja2

    plan = _choose_plan(analysis, name, offset)
    if plan is None:
        return "the file has no such plan"
    if has_errors(check_plan(plan).diagnostics):
        return "the plan has errors and cannot be drawn"
    return Picture(plan.name, render_page(build_overview(plan)))


def _choose_plan(analysis: Analysis, name: str | None, offset: int | None) -> Plan | None:
    if name is not None:
        return next((plan for plan in analysis.plans if plan.name == name), None)
    at = analysis.find_plan(offset) if offset is not None else None
    return at or next(iter(analysis.plans), None)


def derive_highlight(analysis: Analysis, offset: int) -> dict[str, Any]:
    """The message to the page about the word at the offset: highlight an axis or a stage, or nothing."""
    message: dict[str, Any] = {"parc": VERSION, "type": "highlight"}
    plan = analysis.find_plan(offset)
    if plan is None:
        return message
    mention = find_mention(analysis, offset)
    if mention and mention.symbol.kind == "axis" and mention.symbol.name in plan.mesh.names:
        return message | {"axis": mention.symbol.name}
    if (stage := _find_stage(analysis, plan, offset)) is not None:
        return message | {"stage": stage}
    for strategy in (plan.data, plan.tensor, plan.experts, plan.pipeline):
        if strategy and analysis.covers(strategy, offset) and strategy.axes:
            return message | {"axis": strategy.axes[0]}
    return message


def _find_stage(analysis: Analysis, plan: Plan, offset: int) -> int | None:
    """The pipeline rank whose entry of `layers` has the offset."""
    pipeline = plan.pipeline
    if pipeline is None or "layers" not in pipeline.spans:
        return None
    span = analysis.locate(pipeline.at("layers"))
    if span.source is not analysis.source or not span.start <= offset <= span.end:
        return None
    before = analysis.source.text[span.start : offset].count(",")
    return before % plan.mesh.product(pipeline.axes)


def explain_placement(analysis: Analysis, name: str, rank: int) -> list[tuple[Span, str]]:
    """The spans that determine where a rank is, and what follows from each."""
    plan = _choose_plan(analysis, name, None)
    if plan is None or not 0 <= rank < plan.mesh.size:
        return []
    coordinates = plan.mesh.coordinates(rank)
    found = [
        (plan.at(f"mesh.{axis}"), f"{axis} = {coordinate} of {plan.mesh.axis(axis).size}")
        for axis, coordinate in coordinates.items()
    ]
    for kind in ("data", "tensor", "experts", "pipeline"):
        strategy = getattr(plan, kind)
        if strategy:
            index = plan.mesh.index(rank, strategy.axes)
            found.append((strategy.at("axes"), f"{kind}: number {index} of its group"))
    if plan.pipeline and "layers" in plan.pipeline.spans:
        held = ", ".join(f"{run.start} to {run.stop - 1}" for run in locate_layers(plan, rank) if run)
        found.append((plan.pipeline.at("layers"), f"layers {held}"))
    return [(analysis.locate(span), text) for span, text in found]
