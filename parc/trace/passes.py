"""The operations of one microbatch's forward and backward pass through a stage, derived from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from parc.ir.collectives import Wire
from parc.ir.forward_sites import iterate_sites
from parc.ir.parameters import find_layer
from parc.ir.program import Collective, Recv, Send, Stage, Unit, Value
from parc.ir.received import FLOATS, find_collectives_of_received
from parc.trace.ops import Op, OpKind


@dataclass(frozen=True)
class Passes:
    """Operations of one microbatch in one stage. Gradients are sent of floating-point values alone."""

    receive_inputs: tuple[Op, ...]
    forward: tuple[Op, ...]
    send_outputs: tuple[Op, ...]
    receive_gradients: tuple[Op, ...]
    backward: tuple[Op, ...]
    of_inputs: tuple[Op, ...]  # the half of `backward` that computes the gradients of what was received
    of_weights: tuple[Op, ...]  # the other half
    send_gradients: tuple[Op, ...]


def derive_passes(
    stage: Stage,
    before: int,
    after: int,
    pipeline: str,
    sizes: Mapping[str, int],
    enter_layer: Callable[[int], Iterable[Op]] = lambda _: (),
    end_layer: Callable[[int], Iterable[Op]] = lambda _: (),
) -> Passes:
    """`before` and `after` are the coordinates on the axis `pipeline` of the stages next to this one.

    `sizes` are those of the mesh's axes. `enter_layer` has what each pass through a layer begins with,
    `end_layer` what the backward pass ends with, by the number of the layer.
    """

    def build_ops(kind: OpKind, values: Iterable[Value], peer: int, of: str = "") -> tuple[Op, ...]:
        return tuple(
            Op(kind, pipeline, value.shape, value.dtype, peer=peer, where=f"{of}`{value.name}`")
            for value in values
            if not of or value.dtype.startswith(FLOATS)
        )

    inputs = [value for event in stage.root.events if isinstance(event, Recv) for value in event.values]
    outputs = [value for event in stage.root.events if isinstance(event, Send) for value in event.values]
    calls = [(site.unit, site.move) for site in iterate_sites(stage) if site.move]
    halves: dict[bool, list[Op]] = {True: [], False: []}
    for (unit, call), received in zip(calls[::-1], find_collectives_of_received(stage)[::-1], strict=True):
        halves[received] += [op for op in derive_backward(unit, call) if sizes[op.axis] > 1]
    forward = _derive_forward_pass(stage, enter_layer)
    backward = _derive_backward_pass(stage, enter_layer, end_layer)
    return Passes(
        receive_inputs=build_ops("recv", inputs, before),
        forward=tuple(op for op in forward if sizes[op.axis] > 1),
        send_outputs=build_ops("send", outputs, after),
        receive_gradients=build_ops("recv", outputs, after, "gradient of "),
        backward=tuple(op for op in backward if sizes[op.axis] > 1),
        of_inputs=tuple(halves[True]),
        of_weights=tuple(halves[False]),
        send_gradients=build_ops("send", inputs, before, "gradient of "),
    )


def _derive_forward_pass(stage: Stage, enter_layer: Callable[[int], Iterable[Op]]) -> Iterator[Op]:
    """The operations of all sites, and at the begin of each layer what it begins with."""
    current: int | None = None
    for site in iterate_sites(stage):
        layer = find_layer(stage, site.path)
        if layer is not None and layer != current:
            yield from enter_layer(layer)
        current = layer
        if site.move:
            yield from derive_forward(site.unit, site.move)


def _derive_backward_pass(
    stage: Stage,
    enter_layer: Callable[[int], Iterable[Op]],
    end_layer: Callable[[int], Iterable[Op]],
) -> Iterator[Op]:
    """The operations of all sites, the last first, between what each layer begins and ends with."""
    current: int | None = None
    for site in reversed([*iterate_sites(stage)]):
        layer = find_layer(stage, site.path)
        if layer != current:
            if current is not None:
                yield from end_layer(current)
            if layer is not None:
                yield from enter_layer(layer)
        current = layer
        if site.move:
            yield from derive_backward(site.unit, site.move)
    if current is not None:
        yield from end_layer(current)


def derive_forward(unit: Unit, call: Collective) -> Iterator[Op]:
    """The operations that a collective of a unit issues in the forward pass."""
    if call.forward is None:
        return
    where = f"{unit.name}, {call.verb} of `{call.operand.expression}`"
    if call.verb == "dispatch" and unit.experts is not None:
        counts = f"{unit.name}, rows that each expert gets"
        yield Op("all_to_all", call.axis, (unit.experts.reached,), "torch.int64", where=counts)
    yield _build_op(call.forward, call, where, call.reduction)


def derive_backward(unit: Unit, call: Collective) -> Iterator[Op]:
    """The operations that it issues in the backward pass."""
    if call.backward is not None:
        where = f"{unit.name}, backward of {call.verb} of `{call.operand.expression}`"
        yield _build_op(call.backward, call, where, "sum")


def _build_op(wire: Wire, call: Collective, where: str, reduction: str) -> Op:
    """`shape` is that of the side which is one rank's share, where they differ. Experts are sent rows."""
    shape = call.result.shape if call.dst.sharded or call.verb == "dispatch" else call.operand.shape
    reduces = wire in ("all_reduce", "reduce_scatter")
    return Op(wire, call.axis, shape, call.operand.dtype, reduction if reduces else None, where=where)
