"""The order in which a stage runs its microbatches, what it issues together, and when it waits.

The orders are those of `ScheduleGPipe` and `Schedule1F1B` of `torch.distributed.pipelining`; without a
pipeline, one microbatch runs after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from parc.trace.ops import Kind, Op, Tape
from parc.trace.passes import Passes


def run_sequentially(tape: Tape, part: Passes, microbatches: int, _stage: int, _stages: int) -> None:
    """Each microbatch forward and backward: no pipeline."""
    for number in range(microbatches):
        _run_forward(tape, part, number)
        _run_backward(tape, part, number)


def run_gpipe(tape: Tape, part: Passes, microbatches: int, _stage: int, _stages: int) -> None:
    """All microbatches forward, then all backward."""
    for run, messages in ((_run_forward, part.send_outputs), (_run_backward, part.send_gradients)):
        sent: list[int] = []
        for number in range(microbatches):
            run(tape, part, number)
            sent += tape.post(messages)
        tape.wait(sent)


def run_1f1b(tape: Tape, part: Passes, microbatches: int, stage: int, stages: int) -> None:
    """A forward pass for each stage from here on, then backward and forward in turn, then backward."""
    warm = min(microbatches, stages - stage)
    sent: list[int] = []
    for number in range(warm):
        _run_forward(tape, part, number)
        tape.wait(sent)
        if number < warm - 1:  # the last one goes out together with what comes back
            sent = tape.post(part.send_outputs)
    left = microbatches - warm
    for number in range(left + 1):
        tape.wait(_post_batch(tape, part.send_outputs, part.receive_gradients))
        _run_backward(tape, part, number, receive=False)
        if number < left:
            tape.wait(_post_batch(tape, part.send_gradients, part.receive_inputs))
            _run_forward(tape, part, warm + number, receive=False)
    sent = tape.post(part.send_gradients)
    for number in range(left + 1, microbatches):
        _run_backward(tape, part, number)
        tape.wait(sent)
        sent = tape.post(part.send_gradients)
    tape.wait(sent)


SCHEDULES: Mapping[str, Callable[[Tape, Passes, int, int, int], None]] = {
    "gpipe": run_gpipe,
    "1f1b": run_1f1b,
}


def exchange_shapes(tape: Tape, axis: str, stage: int, stages: int) -> None:
    """In their first step the stages agree whether all of them know the shapes that they exchange."""

    def build_message(kind: Kind, peer: int) -> Op:
        return Op(kind, axis, (1,), "torch.int32", peer=peer, where="the stages' first step")

    tape.phase = "before the first microbatch"
    before, after = stage > 0, stage < stages - 1
    tape.run([build_message("recv", stage - 1)] * before + [build_message("send", stage + 1)] * after)
    tape.run([build_message("recv", stage + 1)] * after + [build_message("send", stage - 1)] * before)


def _run_forward(tape: Tape, part: Passes, number: int, receive: bool = True) -> None:
    tape.phase = f"forward pass of microbatch {number}"
    tape.wait(tape.post(part.receive_inputs if receive else ()))
    tape.run(part.forward)


def _run_backward(tape: Tape, part: Passes, number: int, receive: bool = True) -> None:
    tape.phase = f"backward pass of microbatch {number}"
    tape.wait(tape.post(part.receive_gradients if receive else ()))
    tape.run(part.backward)


def _post_batch(tape: Tape, one: Sequence[Op], other: Sequence[Op]) -> list[int]:
    """Sends and receives are one batch; sends alone, or receives alone, are issued one by one."""
    return tape.post([*one, *other], batch=len(tape) if one and other else None)
