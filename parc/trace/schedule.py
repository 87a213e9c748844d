"""In which order a stage takes its microbatches, what it issues together, and when it waits.

As `ScheduleGPipe` and `Schedule1F1B` of `torch.distributed.pipelining` do it; without a pipeline, one
microbatch after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from parc.trace.ops import Op, Tape
from parc.trace.passes import Passes


def in_turn(tape: Tape, part: Passes, microbatches: int, _stage: int, _stages: int) -> None:
    """No pipeline."""
    for number in range(microbatches):
        _forward(tape, part, number)
        _backward(tape, part, number)


def gpipe(tape: Tape, part: Passes, microbatches: int, _stage: int, _stages: int) -> None:
    """All forward, then all backward."""
    sent: list[int] = []
    for number in range(microbatches):
        _received(tape, part.takes)
        _forward(tape, part, number)
        sent += tape.post(part.gives)
    tape.wait(sent)
    sent = []
    for number in range(microbatches):
        _received(tape, part.takes_gradients)
        _backward(tape, part, number)
        sent += tape.post(part.gives_gradients)
    tape.wait(sent)


def one_forward_one_backward(tape: Tape, part: Passes, microbatches: int, stage: int, stages: int) -> None:
    """As many forward as there are stages from here on, then in turn, then what is left backward."""
    warm = min(microbatches, stages - stage)
    sent: list[int] = []
    for number in range(warm):
        _received(tape, part.takes)
        _forward(tape, part, number)
        tape.wait(sent)
        if number < warm - 1:  # the last one goes out together with what comes back
            sent = tape.post(part.gives)
    done = 0
    for number in range(warm, microbatches + 1):
        tape.wait(_together(tape, part.gives, part.takes_gradients))
        _backward(tape, part, done)
        done += 1
        if number < microbatches:
            tape.wait(_together(tape, part.gives_gradients, part.takes))
            _forward(tape, part, number)
    sent = tape.post(part.gives_gradients)
    for number in range(done, microbatches):
        _received(tape, part.takes_gradients)
        _backward(tape, part, number)
        tape.wait(sent)
        sent = tape.post(part.gives_gradients)
    tape.wait(sent)


SCHEDULES: Mapping[str, Callable[[Tape, Passes, int, int, int], None]] = {
    "gpipe": gpipe,
    "1f1b": one_forward_one_backward,
}


def vote(tape: Tape, axis: str, stage: int, stages: int) -> None:
    """What the stages agree on in their first step: whether all of them know the shapes that cross."""

    def said(kind: str, peer: int) -> Op:
        return Op(kind, axis, (1,), "torch.int32", peer=peer, where="the stages' first step")  # type: ignore[arg-type]

    tape.when = "before the first microbatch"
    before, after = stage > 0, stage < stages - 1
    tape.run([said("recv", stage - 1)] * before + [said("send", stage + 1)] * after)
    tape.run([said("recv", stage + 1)] * after + [said("send", stage - 1)] * before)


def _forward(tape: Tape, part: Passes, number: int) -> None:
    tape.when = f"forward pass of microbatch {number}"
    tape.run(part.forward)


def _backward(tape: Tape, part: Passes, number: int) -> None:
    tape.when = f"backward pass of microbatch {number}"
    tape.run(part.backward)


def _received(tape: Tape, ops: Sequence[Op]) -> None:
    tape.wait(tape.post(ops))


def _together(tape: Tape, one: Sequence[Op], other: Sequence[Op]) -> list[int]:
    """Sends and receives are one batch; either alone are issued one by one."""
    return tape.post([*one, *other], batch=len(tape) if one and other else None)
