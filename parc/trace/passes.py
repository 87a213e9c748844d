"""The operations of one microbatch's forward and backward pass through a stage, derived from its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from parc.ir.collectives import Wire
from parc.ir.program import Call, Collective, Compute, Event, Recv, Repeat, Send, Stage, Unit, Value
from parc.trace.ops import Kind, Op


@dataclass(frozen=True)
class Passes:
    """Operations of one microbatch in one stage. Gradients are sent of floating-point values alone."""

    receive_inputs: tuple[Op, ...]
    forward: tuple[Op, ...]
    send_outputs: tuple[Op, ...]
    receive_gradients: tuple[Op, ...]
    backward: tuple[Op, ...]
    send_gradients: tuple[Op, ...]


def derive_passes(stage: Stage, number: int, pipeline: str, sizes: Mapping[str, int]) -> Passes:
    """`number` is the stage's coordinate on the axis `pipeline`; `sizes` are those of the mesh's axes."""
    before = [value for event in stage.root.events if isinstance(event, Recv) for value in event.values]
    after = [value for event in stage.root.events if isinstance(event, Send) for value in event.values]
    calls = list(_Collectives(stage).of(stage.root))
    forward = [op for unit, call in calls for op in issued_forward(unit, call)]
    backward = [op for unit, call in reversed(calls) for op in issued_backward(unit, call)]
    return Passes(
        receive_inputs=_sent("recv", before, pipeline, number - 1),
        forward=_real(forward, sizes),
        send_outputs=_sent("send", after, pipeline, number + 1),
        receive_gradients=_sent("recv", filter(_floats, after), pipeline, number + 1, "gradient of "),
        backward=_real(backward, sizes),
        send_gradients=_sent("send", filter(_floats, before), pipeline, number - 1, "gradient of "),
    )


def issued_forward(unit: Unit, call: Collective) -> Iterator[Op]:
    """The operations that a collective of a unit issues in the forward pass."""
    if call.forward is None:
        return
    where = f"{unit.name}, {call.verb} of `{call.operand.expression}`"
    if call.verb == "dispatch" and unit.experts is not None:
        counts = f"{unit.name}, rows that each expert gets"
        yield Op("all_to_all", call.axis, (unit.experts.count,), "torch.int64", where=counts)
    yield _op(call.forward, call, where, call.reduction)


def issued_backward(unit: Unit, call: Collective) -> Iterator[Op]:
    """The operations that it issues in the backward pass."""
    if call.backward is not None:
        where = f"{unit.name}, backward of {call.verb} of `{call.operand.expression}`"
        yield _op(call.backward, call, where, "sum")


def _op(wire: Wire, call: Collective, where: str, reduction: str) -> Op:
    return Op(
        wire,
        call.axis,
        _share(call),
        call.operand.dtype,
        reduction if wire in ("all_reduce", "reduce_scatter") else None,
        where=where,
    )


def _share(call: Collective) -> tuple[int | str, ...]:
    """The shape of the side that is one rank's share, where they differ. Experts are sent rows."""
    return call.result.shape if call.dst.sharded or call.verb == "dispatch" else call.operand.shape


def _real(ops: Sequence[Op], sizes: Mapping[str, int]) -> tuple[Op, ...]:
    return tuple(op for op in ops if sizes[op.axis] > 1)


def _sent(
    kind: Kind, values: Iterator[Value] | list[Value], axis: str, peer: int, of: str = ""
) -> tuple[Op, ...]:
    return tuple(
        Op(kind, axis, value.shape, value.dtype, peer=peer, where=f"{of}`{value.name}`") for value in values
    )


def _floats(value: Value) -> bool:
    return value.dtype.startswith(("torch.float", "torch.bfloat"))


class _Collectives:
    """The collectives of a stage's forward pass, in order."""

    def __init__(self, stage: Stage) -> None:
        self.units = {unit.name: unit for unit in stage.units}

    def of(self, unit: Unit) -> Iterator[tuple[Unit, Collective]]:
        yield from self._events(unit, unit.events)

    def _events(self, unit: Unit, events: Sequence[Event]) -> Iterator[tuple[Unit, Collective]]:
        for event in events:
            if isinstance(event, Collective):
                yield unit, event
            elif isinstance(event, Compute):
                yield from ((unit, call) for call in event.inside)
            elif isinstance(event, Call):
                yield from self.of(self.units[event.unit])
            elif isinstance(event, Repeat):
                for _ in range(event.count):
                    yield from self._events(unit, event.body)
