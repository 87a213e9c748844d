"""Layouts that fit in the devices' memory."""

from __future__ import annotations

from parc.check.advice.alternatives import (
    Alternative,
    describe_caveat,
    even_out_memory,
    generate,
    raise_microbatches,
    recompute_more,
    shard_more,
    split_sequences,
    start_backward_early,
)
from parc.check.costs import Unknown
from parc.check.lints.memory import FULL, derive_held
from parc.check.registry import Finding
from parc.cost.figure import format_quantity
from parc.plan.blocks import Plan

MOST = 3  # layouts that are named
SINGLE = (
    start_backward_early,
    even_out_memory,
    shard_more,
    recompute_more,
    split_sequences,
    raise_microbatches,
)
NONE = "no layout that was tried fits: use more devices or a smaller model"


def add_fitting(plan: Plan, finding: Finding) -> Finding:
    """The finding with layouts that fit, the fastest first: single changes, or else pairs of them."""
    device = plan.cluster.device
    assert device
    assert device.usable
    memory = device.usable
    found = _select_fitting([each for make in SINGLE for each in generate(make, plan)], memory)
    if all(describe_caveat(each.plan, plan) for each in found):
        found += _select_fitting(_list_pairs(plan), memory)
    best = sorted(found, key=lambda each: bool(describe_caveat(each.plan, plan)))[:MOST]
    if not best:
        return finding._replace(help=NONE)
    first, *others = (_describe(each, memory, plan) for each in best)
    return finding._replace(notes=(*finding.notes, *others), help=first, fix=best[0].make_fix())


def fits(alternative: Alternative) -> bool:
    """Whether the plan fits in the devices' memory; where it is not known, it is taken to fit."""
    device = alternative.plan.cluster.device
    try:
        return not (device and device.usable) or device.usable >= max(
            each.value for each in alternative.costs.memory
        )
    except Unknown:
        return True


def _list_pairs(plan: Plan) -> list[Alternative]:
    """A change of the state's layout or of the schedule, and one of what is kept on top of it."""
    found = []
    for first in (*generate(shard_more, plan), *start_backward_early(plan)):
        for make in (recompute_more, raise_microbatches):
            for second in generate(make, first.plan):
                text, edits = f"{first.text}` and `{second.text}", (*first.edits, *second.edits)
                found.append(Alternative(text, second.plan, edits))
    return found


def _select_fitting(alternatives: list[Alternative], memory: float) -> list[Alternative]:
    found = [
        each for each in alternatives if (peak := _find_peak(each)) is not None and peak <= FULL * memory
    ]
    return sorted(found, key=_make_sort_key)


def _make_sort_key(each: Alternative) -> tuple[bool, float]:
    """By seconds; sharded parameters last, as their time is not predicted well (docs/accuracy.md)."""
    return each.plan.data is not None and each.plan.data.shard == "parameters", each.seconds or 0.0


def _find_peak(alternative: Alternative) -> float | None:
    try:
        return max(stage.value for stage in derive_held(alternative.costs)[0])
    except Unknown:
        return None


def _describe(alternative: Alternative, memory: float, plan: Plan) -> str:
    stages, missing = derive_held(alternative.costs)
    peak, seconds = max(stage.value for stage in stages), alternative.seconds
    step = f", {format_quantity(seconds, 's')} a step" if seconds else ""
    least = "at least " if missing else ""
    text = f"`{alternative.text}` needs {least}{format_quantity(peak, 'B')}, {peak / memory:.0%}{step}"
    return text + describe_caveat(alternative.plan, plan)
