"""A plan laid over a captured model: the program of each of its stages."""

from __future__ import annotations

from parc.capture.capture import Captured
from parc.capture.flops import flops
from parc.capture.graph import user_name
from parc.capture.preconditions import Illegal
from parc.capture.user_model import Faulty
from parc.diagnostic import Label, error
from parc.ir.program import Program
from parc.lower.stages import cut
from parc.lower.units import Units
from parc.plan.blocks import Plan
from parc.shard.placed import Layout, Placed, Refused, States, layout_of
from parc.shard.placement import Placement
from parc.shard.refusals import refusals, undealt


def rewrite(plan: Plan, captured: Captured) -> Program:
    """Lay the plan over a captured model. Raises Faulty."""
    layout = layout_of(plan)
    placement = Placement(layout, captured.experts)
    try:
        placed, decisions = placement.run(captured.root)
    except Refused as refused:
        raise Faulty(*refusals(plan, [refused], [])) from refused
    faults = refusals(plan, list(decisions.faults.values()), list(decisions.uncut.values()))
    faults += undealt(plan, {bank.count for bank in captured.banks.values()})
    if faults:
        raise Faulty(*faults)
    units = Units(layout, captured.loaded.recipes, captured.loaded.buffers, captured.banks)
    pipeline = plan.pipeline
    total = len(captured.loaded.model.get_submodule(user_name(captured.layers)))  # type: ignore[arg-type]
    try:
        stages = cut(placed, units, captured.layers, pipeline.layers if pipeline else (total,))
    except Illegal as fault:
        label = Label(pipeline.at("axes") if pipeline else plan.span, "in stages here")
        raise Faulty(error("P509", fault.reason, label)) from fault
    results = placed.results()
    return Program(
        stages,
        captured.mean,
        captured.balanced,
        _partial(layout, results[0].states),
        _partial(layout, results[1].states) if captured.balanced else (),
        _load_axes(layout, placed),
        3.0 * flops(captured.root, captured.experts) * plan.train.batch.microbatches,
        tuple(
            f"`{user_name(uncut.parameter)}` is whole on every rank of `{layout.tensor}`: {uncut.reason}"
            for uncut in decisions.uncut.values()
        ),
    )


def _partial(layout: Layout, states: States) -> tuple[str, ...]:
    return tuple(axis for axis, state in zip(layout.axes, states, strict=True) if state.partial)


def _load_axes(layout: Layout, placed: Placed) -> tuple[str, ...] | None:
    """The axes over which counts of tokens, taken where they are sent from, are terms of a sum."""
    left = [placed]
    while left:
        here = left.pop()
        for node in here.experts:
            states = zip(layout.axes, here.wanted[node][0], strict=True)
            return tuple(axis for axis, state in states if state.sharded)
        left += here.children.values()
    return None
