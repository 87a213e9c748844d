"""Describes a number: what it is, its value in other units or as a share, and what it decides."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from parc.check.claims.verdict import format_value
from parc.check.costs import Costs, Unknown
from parc.lsp.document.analysis import Analysis
from parc.lsp.document.cursor import CursorContext
from parc.lsp.hover.axes import describe_axis
from parc.lsp.hover.quantity import convert_quantity, list_changes, parse_quantity
from parc.lsp.language.schema_docs import describe_key
from parc.lsp.markdown import format_code
from parc.plan.blocks import Plan
from parc.plan.schema.form import Key
from parc.syntax import units

LEAST_WORTH = 1024  # from which a count is shown as a product of two and an odd number


def describe_number(analysis: Analysis, context: CursorContext) -> str | None:
    """The text about the number at the cursor; None if it is no number that parc reads."""
    word = context.word
    value = parse_quantity(word.text) if word else None
    if word is None or value is None:
        return None
    number, dimension = value
    title = _describe_place(analysis, context)
    equal = [format_code(word.text), *convert_quantity(number, dimension, word.text)]
    if dimension == units.NUMBER:
        equal += _convert_count(number)
    paragraphs = [title] if title else []
    if len(equal) > 1 or not title:
        paragraphs.append(" = ".join(equal))
    paragraphs += _describe_facts(analysis, context, number)
    return "\n\n".join([*paragraphs, *list_changes(analysis, word, number, dimension)])


def _convert_count(number: float) -> Iterator[str]:
    """`32000` as 2^8 x 125."""
    if not LEAST_WORTH <= number < 2**53 or number != int(number):
        return
    odd, power = int(number), 0
    while odd % 2 == 0:
        odd, power = odd // 2, power + 1
    yield f"{int(number):,}"
    if power > 3:
        yield f"2^{power}" + (f" x {odd:,}" if odd > 1 else "")


def _describe_place(analysis: Analysis, context: CursorContext) -> str | None:
    """What the number is: the meaning of its key, axis, level, stage or argument."""
    form, key, inner = context.form, context.key, context.inner
    plan = analysis.find_plan(context.offset)
    if form and form.open and context.body.key:
        return f"**argument** {format_code(context.body.key)} of the model's factory, passed verbatim"
    if form is None or key is None:
        words = [each.text for each in context.body.words]
        return f"**constant** {format_code(words[1])}" if words[:1] == ["let"] and len(words) > 1 else None
    if inner is context.body or inner.opener == "(":
        return describe_key(form, key)
    if key.kind == "sizes":
        return _describe_entry(context, key, plan)
    if key.kind == "counts":
        return _describe_stage(context, plan)
    return describe_key(form, key)


def _describe_entry(context: CursorContext, key: Key, plan: Plan | None) -> str | None:
    """An axis of the mesh, or a level of the network."""
    words = [each.text for each in context.inner.words if each.kind == "name"]
    if not words:
        return None
    name, text = words[-1], ""
    if key.name == "mesh":
        return describe_axis(plan, name) if plan else f"**axis** {format_code(name)}: its number of ranks"
    text = f"**level** {format_code(name)}: how many of its units are in one of the level before it"
    if len(context.inner.keys | context.inner.blocks) == 0 and not context.inner.words[:-2]:
        text = f"**level** {format_code(name)}, the outermost: how many of its units the cluster has"
    return text


def _describe_stage(context: CursorContext, plan: Plan | None) -> str:
    """An entry of `layers`."""
    if plan is None or plan.pipeline is None:
        return "layers of a stage"
    ends = [0, *accumulate(plan.pipeline.layers)]
    stage = context.inner.count
    if stage + 1 >= len(ends):
        return f"layers of the stage {stage}, which the pipeline does not have"
    first, last = ends[stage], ends[stage + 1] - 1
    held = f"layers {first} to {last}" if last > first else f"layer {first}" if last == first else "no layer"
    return f"**stage** {stage} of {len(ends) - 1}: {held}"


def _describe_facts(analysis: Analysis, context: CursorContext, number: float) -> Iterator[str]:
    """What follows from the number and others of its block, without the cost of a plan."""
    name = context.key.name if context.key else ""
    for each in analysis.plans:
        if name == "levels" and analysis.covers(each.cluster, context.offset):
            sizes = " x ".join(str(level.size) for level in each.cluster.levels)
            yield f"{sizes} = {each.cluster.devices:,} devices"
            return
        if name == "memory" and (text := _describe_peak(analysis.find_costs(each), number)):
            yield text
    plan = next((each for each in analysis.plans if analysis.covers(each.train, context.offset)), None)
    if plan is None or number <= 0:
        return
    batch, optimizer, steps = plan.train.batch, plan.train.optimizer, plan.train.steps
    tokens = batch.sequences * batch.length
    if name in ("sequences", "length"):
        yield f"{batch.sequences:,} sequences x {batch.length:,} = {tokens:,} tokens a step"
    elif name == "microbatches" and batch.sequences % batch.microbatches == 0:
        part = f"{batch.sequences // batch.microbatches:,} a microbatch, over all ranks"
        yield f"{batch.sequences:,} sequences / {batch.microbatches:,} = {part}"
    elif name == "steps":
        yield f"{steps or 0:,} steps x {tokens:,} tokens = {(steps or 0) * tokens:,} tokens"
    elif name == "warmup" and steps:
        yield f"{number / steps:.3g} of the {steps:,} steps"
    elif name == "min_lr" and optimizer.lr:
        yield f"{number / optimizer.lr:.3g} of the peak learning rate"


def _describe_peak(costs: Costs, memory: float) -> str | None:
    """How much of a device's memory a plan takes."""
    try:
        peak = max(costs.memory, key=lambda figure: figure.value)
    except Unknown:
        return None
    name = format_code(costs.plan.name)
    return f"{name} takes {format_value(peak)} of a device, {100 * peak.value / memory:.3g}% ({peak.grade})"
