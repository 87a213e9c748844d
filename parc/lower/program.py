"""The program of each stage of a placed model."""

from __future__ import annotations

from math import prod

from parc.capture.capture import Captured
from parc.capture.flops import count_flops
from parc.capture.graph import get_user_name
from parc.capture.preconditions import Illegal
from parc.diagnostic import CompileError, Label, error
from parc.ir.program import Program
from parc.ir.states import V
from parc.lower.attribute_order import order_attributes
from parc.lower.expert_counts import name_expert_counts
from parc.lower.layers import form_layers
from parc.lower.recompute import mark_recomputed
from parc.lower.stages import cut_stages
from parc.lower.units import Units
from parc.plan.blocks import Plan
from parc.shard.layout import Layout
from parc.shard.placed import Placed, PlacedModel, States


def lower(plan: Plan, captured: Captured, placed: PlacedModel) -> Program:
    """Write the program of a placed model, stage by stage. Raises CompileError."""
    layout, pipeline = placed.layout, plan.pipeline
    units = Units(layout, captured.buffers, captured.banks, captured.fixed, captured.kept)
    try:
        counts = pipeline.layers if pipeline else (captured.layer_count,)
        stages = cut_stages(placed.root, units, captured.layers, counts)
    except Illegal as fault:
        model = Label(plan.train.model.at("source"), "captured for this plan")
        label = Label(pipeline.at("axes"), "in stages here") if pipeline else model
        raise CompileError(error("P509", fault.reason, label, help=fault.cure)) from fault
    results = placed.root.results()
    program = Program(
        stages,
        captured.mean,
        captured.balanced,
        _list_partial_axes(layout, results[0].states),
        _list_partial_axes(layout, results[1].states) if captured.balanced else (),
        _count_own_balances(layout, results[1].states) if captured.balanced else 1,
        _find_load_axes(layout, placed.root),
        3.0 * count_flops(captured.root, captured.experts) * plan.train.batch.microbatches,
        captured.recipes,
        captured.stored,
        captured.stored_buffers,
        captured.known_ids,
        tuple(
            f"`{get_user_name(uncut.parameter)}` is whole on every rank of `{uncut.axis}`: {uncut.reason}"
            for uncut in placed.uncut
        ),
    )
    program = order_attributes(name_expert_counts(form_layers(program, layout)))
    try:
        return mark_recomputed(program, plan.recompute, plan.resends)
    except Illegal as fault:
        label = Label(plan.at("recompute"), "of every layer")
        raise CompileError(error("P518", fault.reason, label, help="`recompute = layer`")) from fault


def _list_partial_axes(layout: Layout, states: States) -> tuple[str, ...]:
    partial = (axis for axis, state in zip(layout.axes, states, strict=True) if state.partial or state == V)
    return layout.split_groups(partial)


def _count_own_balances(layout: Layout, states: States) -> int:
    """How many ranks have a balance loss of their own tokens."""
    pairs = zip(layout.axes, states, strict=True)
    return prod(layout.sizes[axis] for axis, state in pairs if state == V)


def _find_load_axes(layout: Layout, placed: Placed) -> tuple[str, ...] | None:
    """The axes over which counts of tokens, as each rank that sends has them, are terms of a sum."""
    left = [placed]
    while left:
        here = left.pop()
        for node in here.experts:
            states = zip(layout.axes, here.wanted[node][0], strict=True)
            return layout.split_groups(axis for axis, state in states if state.sharded)
        left += here.children.values()
    return None
