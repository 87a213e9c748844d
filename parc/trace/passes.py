"""The operations of one microbatch's forward and backward pass through a stage, derived from its events."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from parc.ir.collectives import Wire
from parc.ir.forward_sites import ForwardSite, iterate_sites
from parc.ir.module_calls import ModuleCall, list_module_calls
from parc.ir.program import Collective, Recv, Send, Stage, Unit, Value
from parc.ir.received import FLOATS, find_collectives_of_received
from parc.trace.ops import Op, OpKind

ModuleOps: TypeAlias = Callable[[str], Iterable[Op]]
"""What is done for the parameters of a module, by its path."""


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
    gather: ModuleOps = lambda _: (),
    reduce: ModuleOps = lambda _: (),
) -> Passes:
    """`before` and `after` are the coordinates on the axis `pipeline` of the stages next to this one.

    `sizes` are those of the mesh's axes. `gather` has what each pass through a module begins with, `reduce`
    what the backward pass ends with, by the path of the module; empty for the stage itself.
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
    modules = list_module_calls(stage)
    forward = _derive_forward_pass(modules, gather)
    backward = _derive_backward_pass(modules, gather, reduce)
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


def _derive_forward_pass(calls: Iterable[ModuleCall], gather: ModuleOps) -> Iterator[Op]:
    """The operations of all sites, and those that each module begins with."""
    yield from gather("")
    for each in calls:
        if each.module:
            yield from gather(each.module)
        for site in each.sites:
            if site.move:
                yield from derive_forward(site.unit, site.move)


def _derive_backward_pass(calls: Sequence[ModuleCall], gather: ModuleOps, reduce: ModuleOps) -> Iterator[Op]:
    """The operations of all sites, the last first, between those that each module begins and ends with.

    The stage's own gradients are complete at the very end, and so are those of embeddings.
    """
    yield from gather("")
    late = [""]
    for each in reversed(calls):
        if each.module and not each.looks_up:
            yield from gather(each.module)
        yield from _derive_backward_of_sites(each.sites)
        if each.looks_up:
            late.append(each.module)
        elif each.module:
            yield from reduce(each.module)
    for module in late:
        yield from reduce(module)


def _derive_backward_of_sites(sites: Sequence[ForwardSite]) -> Iterator[Op]:
    """The operations of sites, the last first; where recomputation resends, after those of a second pass."""
    repeated: str | None = None
    for site in reversed(sites):
        if site.resends and site.recomputed != repeated:
            for each in sites:
                if each.recomputed == site.recomputed and each.move:
                    yield from derive_forward(each.unit, each.move, again=True)
        repeated = site.recomputed
        if site.move:
            yield from derive_backward(site.unit, site.move)


def derive_forward(unit: Unit, call: Collective, again: bool = False) -> Iterator[Op]:
    """The operations that a collective of a unit issues in the forward pass.

    `again`: in a second one, which knows where rows go, and how many.
    """
    if call.forward is None or (again and call.routes):
        return
    where = f"{unit.name}, {call.verb} of `{call.operand.expression}`"
    if call.verb == "dispatch" and unit.experts is not None and not again:
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
