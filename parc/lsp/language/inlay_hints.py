"""Inlay hints: derived sizes, behind the lines that they follow from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from parc.check.claims.counts import derive_bubble
from parc.check.claims.verdict import format_value
from parc.check.costs import Costs, Unknown
from parc.lsp.document.analysis import Analysis
from parc.plan.blocks import Pipeline
from parc.source import Span


class Hint(NamedTuple):
    """`text` is shown behind the character at `offset`; `tip` is its derivation."""

    offset: int
    text: str
    tip: str


def list_hints(analysis: Analysis, start: int, end: int) -> Iterator[Hint]:
    """The hints between two offsets."""
    for costs in analysis.loaded.costs:
        block = analysis.locate(costs.plan.span)
        if block.end < start or end < block.start:
            continue
        for span, text, tip in _derive_sizes(costs):
            whole = analysis.locate(span)
            if whole.source is analysis.source and start <= whole.end <= end:
                yield Hint(whole.end, f"= {text}", tip)


def _derive_sizes(costs: Costs) -> Iterator[tuple[Span, str, str]]:
    """The span that a size follows from, the size in words, and its derivation."""
    plan = costs.plan
    mesh, shape, batch = plan.mesh, plan.train.model.shape, plan.train.batch
    sizes = " x ".join(str(axis.size) for axis in mesh.axes)
    yield plan.at("mesh"), f"{mesh.size:,} ranks", f"{sizes} = {mesh.size:,}"
    if plan.data:
        ranks = mesh.product(plan.data.axes)
        each, rest = divmod(batch.sequences, batch.microbatches * ranks)
        if not rest:
            text = f"{each:,} sequence{'' if each == 1 else 's'} a rank and microbatch"
            how = f"{batch.sequences:,} / ({batch.microbatches:,} microbatches x {ranks:,} data ranks)"
            yield plan.data.at("axes"), text, how
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
        yield from _derive_pipeline_sizes(costs, plan.pipeline)


def _derive_pipeline_sizes(costs: Costs, pipeline: Pipeline) -> Iterator[tuple[Span, str, str]]:
    plan = costs.plan
    ranks = plan.mesh.product(pipeline.axes)
    stages = f"{ranks * pipeline.chunks:,} stages, {plan.mesh.size // ranks:,} ranks each"
    how = f"{ranks:,} ranks x {pipeline.chunks:,} chunks"
    yield pipeline.at("axes"), f"{stages}{_format_bubble(costs)}", how
    if "layers" not in pipeline.spans and pipeline.layers:
        few = sorted(set(pipeline.layers), reverse=True)
        layers = " or ".join(f"{each:,}" for each in few)
        yield pipeline.at("axes"), f"{layers} layers a stage", "spread evenly"


def _format_bubble(costs: Costs) -> str:
    try:
        return f", bubble {format_value(derive_bubble(costs))}"
    except Unknown:
        return ""
