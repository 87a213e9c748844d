"""Backward passes of the proof itself, in a process of their own.

Ranks are forked from this process. Where there are GPUs, the first backward pass of a process, be it on the
CPU, starts a thread for each of them, and torch then refuses every backward pass in what is forked from it:
all ranks would fail. So this process makes none.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import TypeVar

import torch

from parc.runtime.connect import forked_threads
from parc.runtime.processes import die_with
from parc.verify.report import NotProvable

T = TypeVar("T")


def apart(made: Callable[[], T]) -> T:
    """What `made` returns or raises, in a forked process; tensors are better left in a file.

    Raises NotProvable where that process is killed.
    """
    context = get_context("fork")  # torch is imported already
    reading, writing = context.Pipe(duplex=False)
    process = context.Process(
        target=_child, args=(writing, os.getpid(), forked_threads(1), made), daemon=True
    )
    process.start()
    writing.close()
    try:
        well, told = reading.recv()
    except EOFError:
        process.join()
        raise NotProvable(f"the model on one device {_end(process.exitcode or 0)}") from None
    finally:
        process.kill()
        process.join()
        reading.close()
    if not well:
        raise told
    returned: T = told
    return returned


def _end(code: int) -> str:
    return f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"exits with status {code}"


def _child(pipe: Connection, parent: int, threads: int, made: Callable[[], object]) -> None:
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C reaches the parent, which stops us
    torch.set_num_threads(threads)
    try:
        told = (True, made())
    except Exception as fault:  # noqa: BLE001 - the parent raises it
        told = (False, _sendable(fault))
    pipe.send(told)


def _sendable(fault: Exception) -> Exception:
    """The fault, or one of the same words where it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(fault))
    except Exception:  # noqa: BLE001 - a fault of the user's may do anything
        return RuntimeError(f"{type(fault).__name__}: {fault}")
    return fault
