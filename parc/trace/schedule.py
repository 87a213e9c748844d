"""The order in which a rank runs its microbatches, what it issues together, and when it waits.

The orders are those of the classes of `torch.distributed.pipelining`; without a pipeline, one microbatch runs
after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from parc.schedule.messages import Action
from parc.trace.ops import Op, OpKind, Tape
from parc.trace.passes import Passes


def run_sequentially(tape: Tape, part: Passes, microbatches: int) -> None:
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


SINGLE: Mapping[str, Callable[[Tape, Passes, int, int, int], None]] = {
    "gpipe": run_gpipe,
    "1f1b": run_1f1b,
}
"""The schedules that torch has classes of their own for where a rank has one stage."""


def run_actions(tape: Tape, parts: Mapping[int, Passes], actions: Sequence[Action]) -> None:
    """The passes and messages of a rank that may have several stages, whose `parts` are by number.

    What is received is waited for before the pass that reads it, what is sent at the end.
    """
    sent: list[int] = []
    awaited: dict[tuple[str, int, int], list[int]] = {}
    for action in actions:
        kind, stage, microbatch = action
        part = parts[stage]
        match kind:
            case "receive inputs":
                awaited["forward", stage, microbatch] = tape.post(part.receive_inputs)
            case "receive gradients":
                awaited["backward", stage, microbatch] = tape.post(part.receive_gradients)
            case "send outputs":
                sent += tape.post(part.send_outputs)
            case "send gradients":
                sent += tape.post(part.send_gradients)
            case "forward":
                tape.phase = f"forward pass of microbatch {microbatch} in stage {stage}"
                tape.wait(awaited.pop((kind, stage, microbatch), ()))
                tape.run(part.forward)
            case "backward" | "inputs" | "weights":
                half = "" if kind == "backward" else f", gradients of {kind}"
                tape.phase = f"backward pass of microbatch {microbatch} in stage {stage}{half}"
                tape.wait(awaited.pop(("backward", stage, microbatch), ()))
                halves = {"backward": part.backward, "inputs": part.of_inputs, "weights": part.of_weights}
                tape.run(halves[kind])
    tape.wait(sent)


def exchange_shapes(tape: Tape, axis: str, holders: Sequence[int], rank: int) -> None:
    """In their first step the stages agree whether all of them know the shapes that they exchange.

    `holders` has the rank of each stage. Stages that follow each other on one rank exchange nothing.
    """

    def build_message(kind: OpKind, peer: int) -> Op:
        return Op(kind, axis, (1,), "torch.int32", peer=peer, where="the stages' first step")

    tape.phase = "before the first microbatch"
    own = [stage for stage, holder in enumerate(holders) if holder == rank]
    for step, stages in ((1, own), (-1, own[::-1])):
        for stage in stages:
            ends: tuple[tuple[OpKind, int], ...] = ("recv", stage - step), ("send", stage + step)
            for kind, other in ends:
                if 0 <= other < len(holders) and holders[other] != rank:
                    tape.run([build_message(kind, holders[other])])


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
