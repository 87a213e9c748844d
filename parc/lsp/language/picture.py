"""The picture beside the text: the page of `parc explain --html`, and what of it lights up at the cursor.

docs/explain.md has the messages that the page understands, and those that it sends.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from parc.check.engine import findings
from parc.diagnostic import has_errors
from parc.lsp.document import names
from parc.lsp.document.analysis import Analysis
from parc.plan.blocks import Plan
from parc.plan.placement import locate_layers
from parc.source import Span

VERSION = 1


class Picture(NamedTuple):
    plan: str
    html: str


def picture(analysis: Analysis, name: str | None, offset: int | None = None) -> Picture | str:
    """Of the plan of that name, or of the one at the offset; why there is none."""
    from parc.render.page import page
    from parc.report.overview import overview

    plan = _chosen(analysis, name, offset)
    if plan is None:
        return "the file has no such plan"
    if has_errors(findings([plan])):
        return "the plan has errors: it cannot be drawn"
    return Picture(plan.name, page(overview(plan)))


def _chosen(analysis: Analysis, name: str | None, offset: int | None) -> Plan | None:
    if name is not None:
        return next((plan for plan in analysis.plans if plan.name == name), None)
    at = analysis.plan(offset) if offset is not None else None
    return at or next(iter(analysis.plans), None)


def highlight(analysis: Analysis, offset: int) -> dict[str, Any]:
    """The message to the page about the word under the cursor: an axis, a stage, or that all goes dark."""
    message: dict[str, Any] = {"parc": VERSION, "type": "highlight"}
    plan = analysis.plan(offset)
    if plan is None:
        return message
    mention = names.at(analysis, offset)
    if mention and mention.symbol.kind == "axis" and mention.symbol.name in plan.mesh.names:
        return message | {"axis": mention.symbol.name}
    if (stage := _stage(analysis, plan, offset)) is not None:
        return message | {"stage": stage}
    for strategy in (plan.data, plan.tensor, plan.experts, plan.pipeline):
        if strategy and analysis.covers(strategy, offset) and strategy.axes:
            return message | {"axis": strategy.axes[0]}
    return message


def _stage(analysis: Analysis, plan: Plan, offset: int) -> int | None:
    """The pipeline rank whose entry of `layers` the cursor is in."""
    pipeline = plan.pipeline
    if pipeline is None or "layers" not in pipeline.spans:
        return None
    span = analysis.whole(pipeline.at("layers"))
    if span.source is not analysis.source or not span.start <= offset <= span.end:
        return None
    before = analysis.source.text[span.start : offset].count(",")
    return before % plan.mesh.product(pipeline.axes)


def placing(analysis: Analysis, name: str, rank: int) -> list[tuple[Span, str]]:
    """The lines that placed a rank, and what each of them says of it."""
    plan = _chosen(analysis, name, None)
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
    return [(analysis.whole(span), said) for span, said in found]
