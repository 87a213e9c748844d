"""Bytes that a compiled program holds and sends, from its events.

They include what a shape does not say: biases, learned positions, and all else that a model adds. Sizes that
routing decides are means over the ranks of a group: what one rank sends more, another sends less.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import NamedTuple

from parc.cost.job.from_plan import ELEMENT_BYTES
from parc.cost.job.software import MOMENTS
from parc.cost.memory.peak import ModelStates
from parc.ir.parameters import count_local_elements, count_slice_elements, named_parameters
from parc.ir.program import Call, Collective, Compute, Event, Program, Repeat, Shape, Stage, Unit
from parc.plan.blocks import TORCH_NAMES, Plan, choose_type
from parc.plan.placement import gathers_by_module, list_shard_axes, reduces_by_module
from parc.trace.derive import derive_roles
from parc.trace.ops import Op

DTYPE_BYTES = {"bool": 1, "bfloat16": 2, "float16": 2, "int32": 4, "float32": 4, "int64": 8, "float64": 8}
COUNTER_BYTES = 4  # bytes of AdamW's own count of steps, a tensor


class ProgramTransfer(NamedTuple):
    """Operations of one kind, of one rank and step.

    `bytes` are those of the whole buffer of one call, as in `network/collective_times.py`.
    """

    where: str
    kind: str  # a collective, or "send"
    axis: str
    bytes: int
    calls: int
    routed: bool  # whether the bytes are a mean over what routing decides

    @property
    def total(self) -> int:
        """Bytes of all calls of a step."""
        return self.bytes * self.calls


def count_program_states(plan: Plan, stages: Iterable[Stage]) -> ModelStates:
    """Of one rank of some stages, as AdamW holds them between two steps.

    Gradients are there from the backward pass to the update. Where ranks share an update, the rank is the
    first of them: slices of a tensor that does not divide end with the tensor, so that the last ones are
    shorter. Parameters that are gathered for each pass are there as masters alone.
    """
    sizes = plan.mesh.sizes
    shard, types = list_shard_axes(plan), plan.train.precision
    moments, master = MOMENTS * ELEMENT_BYTES[types.moments], ELEMENT_BYTES[types.master]
    gathered = gathers_by_module(plan)
    parameters = gradients = optimizer = 0
    for stage in stages:
        for _, parameter in named_parameters(stage):
            whole = count_local_elements(parameter, sizes)
            updated = count_slice_elements(parameter, shard, sizes)
            parameters += updated * master if gathered else whole * _count_element_bytes(parameter.dtype)
            held = updated if reduces_by_module(plan) else whole
            gradients += held * ELEMENT_BYTES[choose_type(types.gradients, parameter.keep_fp32)]
            copied = TORCH_NAMES[types.master] != parameter.dtype and not gathered
            optimizer += updated * (moments + master * copied) + COUNTER_BYTES
    return ModelStates(parameters, gradients, optimizer)


def derive_program_traffic(plan: Plan, program: Program) -> tuple[tuple[ProgramTransfer, ...], ...]:
    """The collectives and sends in a step after the first, of a rank at each place of the pipeline."""
    sizes = plan.mesh.sizes
    reached, experts = _find_reached_experts(program)
    places = []
    for named, numbered in zip(
        derive_roles(plan, program), derive_roles(plan, assume_even_routing(program)), strict=True
    ):
        calls: Counter[tuple[str, str, str, int, bool]] = Counter()
        for issue, number in zip(named.issued, numbered.issued, strict=True):
            op, routed = issue.op, any(isinstance(size, str) for size in issue.op.shape)
            bytes = count_buffer_bytes(number.op, sizes)
            if op.kind != "recv":
                calls[
                    op.where, op.kind, op.axis, bytes * reached // experts if routed else bytes, routed
                ] += 1
        places.append(tuple(ProgramTransfer(*key[:4], count, key[4]) for key, count in calls.items()))
    return tuple(places)


def _find_reached_experts(program: Program) -> tuple[int, int]:
    """How many experts the rows of a rank go to, of how many: ranks with the same tokens send the others."""
    units = (unit for stage in program.stages for unit in stage.units)
    found = (unit.experts for unit in units if unit.experts and unit.experts.travel)
    return next(((each.reached, each.count) for each in found), (1, 1))


def assume_even_routing(program: Program) -> Program:
    """The program with numbers for the sizes that routing decides: the choices of all tokens of a rank."""
    return replace(program, stages=tuple(map(_assume_even_stage, program.stages)))


def _assume_even_stage(stage: Stage) -> Stage:
    units = {unit.name: unit for unit in stage.units}
    counted: dict[str, Unit] = {}

    def number_unit(unit: Unit) -> Unit:
        return replace(unit, events=tuple(_number_events(unit.events, units, counted)))

    return replace(
        stage, root=number_unit(stage.root), units=(*map(number_unit, stage.units), *counted.values())
    )


def _number_events(
    events: tuple[Event, ...],
    units: Mapping[str, Unit],
    counted: dict[str, Unit],
) -> Iterator[Event]:
    """The events, with calls of experts redirected to units whose sizes are numbers, put into `counted`."""
    for event in events:
        if isinstance(event, Repeat):
            yield replace(event, body=tuple(_number_events(event.body, units, counted)))
        elif isinstance(event, Call) and (experts := units[event.unit].experts) is not None:
            _, indices, _ = event.operands
            rows = prod(int(size) for size in indices.shape)
            rows = round(rows * min(1, experts.capacity or 1))
            name = f"{event.unit}, {rows} rows"
            counted[name] = _fix_rows(units[event.unit], name, rows)
            yield replace(event, unit=name)
        else:
            yield event


def _fix_rows(unit: Unit, name: str, rows: int) -> Unit:
    """The unit for `rows` rows: ranks of a group hold equally many tokens, so as many rows come as go."""

    def fix_shape(shape: Shape) -> Shape:
        return tuple(rows if size == "rows" else size for size in shape)

    def fix_collective(move: Collective) -> Collective:
        operand = replace(move.operand, shape=fix_shape(move.operand.shape))
        return replace(move, operand=operand, result=replace(move.result, shape=fix_shape(move.result.shape)))

    events = (
        replace(event, inside=tuple(map(fix_collective, event.inside)))
        if isinstance(event, Compute)
        else event
        for event in unit.events
    )
    return replace(unit, name=name, events=tuple(events))


def count_buffer_bytes(op: Op, sizes: Mapping[str, int]) -> int:
    """Bytes of the whole buffer; the shape of a gather or a scatter is that of one rank's share.

    Raises:
        ValueError: a size of the operation is a symbol.
    """
    shares = sizes[op.axis] if op.kind in ("all_gather", "reduce_scatter") else 1
    return prod(int(size) for size in op.shape) * _count_element_bytes(op.dtype) * shares


def _count_element_bytes(dtype: str) -> int:
    return DTYPE_BYTES[dtype.removeprefix("torch.")]
