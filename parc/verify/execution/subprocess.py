"""Child processes: functions of the proof in a fork, and a built program. None outlives its parent.

The proof computes gradients in forked processes alone. Where there are GPUs, the first backward pass of a
process, even on the CPU, starts a thread for each of them, and torch then refuses every backward pass in a
process forked from it. Ranks are forked from this process, so this process must not make one.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar

import torch

from parc.capture.source_lines import read_message
from parc.runtime.process.connect import count_forked_threads
from parc.runtime.process.launch import die_with_parent, exit_on_signal
from parc.verify.report import NotProvable

T = TypeVar("T")


class ProcessDied(Exception):
    """A forked process ended before its function returned. `code` is its exit status, or minus the signal."""

    def __init__(self, code: int) -> None:
        ended = (
            f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"exits with status {code}"
        )
        super().__init__(ended)
        self.code = code


@dataclass
class Fork:
    """A function that runs in a forked process. `pipe` becomes readable when the function ends."""

    process: BaseProcess
    pipe: Connection

    @classmethod
    def start(cls, function: Callable[[], object], threads: int) -> Fork:
        """Calls `function` in a fork of this process, with so many threads for torch."""
        context = get_context("fork")  # torch is imported already
        reading, writing = context.Pipe(duplex=False)
        arguments = (writing, os.getpid(), threads, function)
        process = context.Process(target=_call_in_child, args=arguments, daemon=True)
        process.start()
        writing.close()
        return cls(process, reading)

    def receive(self) -> Any:
        """Waits for what the function returns. Raises ProcessDied where it does not return."""
        try:
            return self.pipe.recv()
        except EOFError:
            self.process.join()
            raise ProcessDied(self.process.exitcode or 0) from None

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run_in_subprocess(function: Callable[[], T]) -> T:
    """Returns what `function` returns, or raises what it raises, in a forked process.

    Large tensors are better left in a file. Raises NotProvable where the process is killed.
    """
    fork = Fork.start(partial(_catch, function), count_forked_threads(1))
    try:
        fault, returned = fork.receive()
    except ProcessDied as died:
        raise NotProvable(f"the process that runs the model on one device {died}") from None
    finally:
        fork.stop()
    if fault is not None:
        raise fault
    result: T = returned
    return result


def run_program(command: Sequence[str]) -> int:
    """Runs a built program to its end; its exit status. However this process ends, the program ends too."""
    with exit_on_signal():
        die_with_us = partial(die_with_parent, os.getpid())
        program = subprocess.Popen(command, preexec_fn=die_with_us)  # noqa: PLW1509 - it takes no lock
        try:
            return program.wait()
        finally:
            program.terminate()  # it stops its ranks; no effect where it has ended
            program.wait()


def _call_in_child(pipe: Connection, parent: int, threads: int, function: Callable[[], object]) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which stops us
    torch.set_num_threads(threads)
    pipe.send(function())
    pipe.close()
    os._exit(0)  # destructors of process groups that never were would fail


def _catch(function: Callable[[], object]) -> tuple[Exception | None, object]:
    try:
        return None, function()
    except Exception as fault:  # noqa: BLE001 - the parent raises it
        try:
            pickle.loads(pickle.dumps(fault))
        except Exception:  # noqa: BLE001 - the user's exceptions may do anything
            return RuntimeError(f"{type(fault).__name__}: {read_message(fault)}"), None
        return fault, None
