"""The operations of one microbatch's way through a stage and back, read off the stage's events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from parc.ir.program import DUAL, Call, Collective, Compute, Event, Recv, Repeat, Send, Stage, Unit, Value
from parc.trace.ops import Kind, Op

ISSUES: Mapping[str, Kind | None] = {
    "replicate": None,
    "all_reduce": "all_reduce",
    "all_gather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "gather": "all_gather",
    "split": None,
    "take": None,
    "first": None,
    "dispatch": "all_to_all",
    "combine": "all_to_all",
}
"""What a move issues in the forward pass; `DUAL` says what it does in the backward pass."""


@dataclass(frozen=True)
class Passes:
    """Of one microbatch through one stage. Gradients travel for what is floating point alone."""

    takes: tuple[Op, ...]
    forward: tuple[Op, ...]
    gives: tuple[Op, ...]
    takes_gradients: tuple[Op, ...]
    backward: tuple[Op, ...]
    gives_gradients: tuple[Op, ...]


def passes(stage: Stage, number: int, pipeline: str, sizes: Mapping[str, int]) -> Passes:
    """`number` is the stage's coordinate on the axis `pipeline`; `sizes` are those of the mesh's axes."""
    before = [value for event in stage.root.events if isinstance(event, Recv) for value in event.values]
    after = [value for event in stage.root.events if isinstance(event, Send) for value in event.values]
    moves = list(_Moves(stage).of(stage.root))
    backward = [op for unit, move in reversed(moves) if move.grad for op in answered(unit, move)]
    return Passes(
        takes=_sent("recv", before, pipeline, number - 1),
        forward=_real([op for unit, move in moves for op in issued(unit, move)], sizes),
        gives=_sent("send", after, pipeline, number + 1),
        takes_gradients=_sent("recv", filter(_floats, after), pipeline, number + 1, "gradient of "),
        backward=_real(backward, sizes),
        gives_gradients=_sent("send", filter(_floats, before), pipeline, number - 1, "gradient of "),
    )


def issued(unit: Unit, move: Collective) -> Iterator[Op]:
    """What a move of a unit issues in the forward pass."""
    kind = ISSUES[move.move]
    if kind is None:
        return
    where = f"{unit.name}, {move.move} of `{move.operand.name}`"
    if move.move == "dispatch" and unit.experts is not None:
        counts = f"{unit.name}, rows that each expert gets"
        yield Op("all_to_all", move.axis, (unit.experts.count,), "torch.int64", where=counts)
    yield _op(kind, move, where, move.reduction)


def answered(unit: Unit, move: Collective) -> Iterator[Op]:
    """What it issues in the backward pass."""
    dual = DUAL[move.move]
    kind = "all_reduce" if dual == "all_reduce" else ISSUES[dual] if dual else None
    if kind is not None:
        yield _op(kind, move, f"{unit.name}, the answer to {move.move} of `{move.operand.name}`", "sum")


def _op(kind: Kind, move: Collective, where: str, reduction: str) -> Op:
    return Op(
        kind,
        move.axis,
        _share(move),
        move.operand.dtype,
        reduction if kind in ("all_reduce", "reduce_scatter") else None,
        where=where,
    )


def _share(move: Collective) -> tuple[int | str, ...]:
    """The side of a move that is one rank's share, where they differ. What travels to experts are rows."""
    if move.move in ("reduce_scatter", "split", "dispatch"):
        return move.result.shape
    return move.operand.shape


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


class _Moves:
    """The moves of a stage's forward pass, in order."""

    def __init__(self, stage: Stage) -> None:
        self.units = {unit.name: unit for unit in stage.units}

    def of(self, unit: Unit) -> Iterator[tuple[Unit, Collective]]:
        yield from self._events(unit, unit.events)

    def _events(self, unit: Unit, events: Sequence[Event]) -> Iterator[tuple[Unit, Collective]]:
        for event in events:
            if isinstance(event, Collective):
                yield unit, event
            elif isinstance(event, Compute):
                yield from ((unit, move) for move in event.inside)
            elif isinstance(event, Call):
                yield from self.of(self.units[event.unit])
            elif isinstance(event, Repeat):
                for _ in range(event.count):
                    yield from self._events(unit, event.body)
