"""Running all ranks of a program so that its end is understood: a hang, a kill, a fault of its own.

A rank that waits longer than the time-out for the others makes every rank write down where it is, before
anything is stopped. Whatever else ends a run is read off the report of the rank that failed first.
"""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import NamedTuple, NoReturn

import torch.distributed as dist

from parc.runtime.processes import RankFailed, spawn
from parc.verify.report import Finding, Verdict
from parc.verify.shares import compressed

HEARD = 5.0  # seconds in which all ranks may say where they are
SOON = 1.0  # in which a rank has noted that it is late, once its connections have closed
OUTSIDE = ("SIGKILL", "SIGTERM", "SIGINT", "SIGHUP")  # signals that no program sends itself by mistake
FULL = ("out of memory", "allocate memory", "MemoryError", "No space left", "Too many open files")


class Stopped(Exception):
    """A run that has not come to its end: refuted if that is the program's doing."""

    def __init__(self, verdict: Verdict, finding: Finding) -> None:
        super().__init__(finding.message)
        self.verdict, self.finding = verdict, finding


class Frame(NamedTuple):
    file: str  # relative to the program's folder where it lies there
    line: int
    function: str
    own: bool  # whether it does


def run(
    world: int,
    folder: Path,
    target: Callable[..., None],
    *args: object,
    timeout: float,
    device: str = "cpu",
) -> None:
    """`spawn` for a target that runs the program in `folder`; `timeout` is of a step, in seconds.

    Raises Stopped where a rank does not come to its end.
    """
    with tempfile.TemporaryDirectory(prefix="parc-") as scratch:
        arguments = (Path(scratch), timeout, target, args)
        try:
            spawn(world, _watched, *arguments, device=device, timeout=timedelta(seconds=timeout))
        except RankFailed as failed:
            raise _stopped(failed, world, folder, Path(scratch), timeout) from failed


@contextmanager
def step(timeout: float) -> Iterator[None]:
    """A step that may take so many seconds, if it does not wait for others meanwhile."""
    signal.setitimer(signal.ITIMER_REAL, timeout)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class _Late(BaseException):
    """A step takes too long."""


def _watched(scratch: Path, timeout: float, target: Callable[..., None], args: tuple[object, ...]) -> None:
    def leave(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise _Late(f"timed out: a step was not done after {timeout:g} s")

    own = scratch / str(dist.get_rank())
    with own.with_suffix(".said").open("w") as said:  # ranks are many, and they and torch say the same
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    stack = own.with_suffix(".stack").open("w")  # stays open, for whoever asks late
    faulthandler.register(signal.SIGUSR1, stack)
    faulthandler.enable(stack)  # of a crash as well
    signal.signal(signal.SIGALRM, leave)
    own.with_suffix(".pid").write_text(str(os.getpid()))
    try:
        target(*args)
    except BaseException as fault:
        own.with_suffix(".end").write_text(_way_to(fault))
        if _is_late(str(fault)):
            own.with_suffix(".late").touch()
            _ask(scratch)
            own.with_suffix(".asked").touch()
        else:
            _wait_for_asking(scratch)
        raise


def _way_to(fault: BaseException) -> str:
    """The frames on the way to a fault, outermost first; to its origin, where handling it has failed too."""
    origin = fault
    while origin.__context__ is not None:
        origin = origin.__context__
    return "".join(
        line for each in dict.fromkeys((fault, origin)) for line in traceback.format_tb(each.__traceback__)
    )


def _is_late(said: str) -> bool:
    return "timed out" in said.lower() or "timeout" in said.lower()


def _ask(scratch: Path) -> None:
    """Makes all other ranks write down where they are."""
    asked = []
    for file in scratch.glob("*.pid"):
        if (text := file.read_text()) and int(text) != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(int(text), signal.SIGUSR1)
                asked.append(file.with_suffix(".stack"))
    end = time.monotonic() + HEARD
    while time.monotonic() < end and not all(file.stat().st_size for file in asked):
        time.sleep(0.05)
    time.sleep(0.2)  # they may be in the middle of it


def _wait_for_asking(scratch: Path) -> None:
    """A late rank's connections close before it has asked: whom that ends must not end the run as well."""
    soon, end = time.monotonic() + SOON, time.monotonic() + 2 * HEARD
    while time.monotonic() < end:
        late = len(list(scratch.glob("*.late")))
        if late == len(list(scratch.glob("*.asked"))) and (late or time.monotonic() > soon):
            return
        time.sleep(0.05)


def _stopped(failed: RankFailed, world: int, folder: Path, scratch: Path, timeout: float) -> Stopped:
    report, rank = failed.report.rstrip(), failed.rank
    said = report.splitlines()[-1] if report else ""
    if killed := re.match(r"ended by signal (\w+)", report):
        how = report.removeprefix("ended by ")
        if killed[1] in OUTSIDE:
            message = f"rank {rank} was ended by {how}: that says nothing of the program"
            return Stopped("not provable", Finding(message))
        last = re.findall(r"what\(\): *(.*)", (scratch / f"{rank}.said").read_text())[-1:]
        return _fault(rank, f"ended by {how}", _stack(scratch / f"{rank}.stack", folder), last)
    frames = _frames(report, folder)[::-1]
    stacks = {other: _place(scratch / str(other), folder) for other in range(world)}
    if any(scratch.glob("*.late")):
        return Stopped("refuted", _hang({**stacks, rank: stacks[rank] or frames}, timeout))
    if any(word in report for word in FULL):
        return Stopped("not provable", Finding(f"this machine has not enough for rank {rank}: {said}"))
    return _fault(rank, said, frames, ())


def _fault(rank: int, said: str, frames: Sequence[Frame], details: Sequence[str]) -> Stopped:
    where = telling(frames)
    file, line = where[0][:2] if where else (None, None)
    lines = (*details, *(f"from {frame.file}:{frame.line}" for frame in where))
    message = f"the program does not come to the end of a step on rank {rank}: {said}"
    return Stopped("refuted", Finding(message, lines, file, line))


def _hang(stacks: dict[int, Sequence[Frame]], timeout: float) -> Finding:
    """Which ranks wait in which operation."""
    waiting: dict[tuple[str, str], list[int]] = defaultdict(list)
    for rank, frames in sorted(stacks.items()):
        waiting[_waits(frames)].append(rank)
    details = tuple(
        f"ranks {compressed(ranks)} {does[0]}" if len(ranks) > 1 else f"rank {ranks[0]} {does[1]}"
        for does, ranks in waiting.items()
    )
    return Finding(f"the program hangs: nothing happened for {timeout:g} s", details)


def _waits(frames: Sequence[Frame]) -> tuple[str, str]:
    """What ranks do, and what a rank does, its innermost frame first."""
    where = " from ".join(f"{frame.file}:{frame.line}" for frame in telling(frames)[::-1])
    inner = next((number for number, each in enumerate(frames) if each.own), len(frames))
    if operation := _operation(frames[:inner]):
        what = f"in {operation}" + (f" at {where}" if where else "")
        return f"wait {what}", f"waits {what}"
    if where:
        return f"run {where}", f"runs {where}"
    return "were not heard of", "was not heard of"


def _operation(frames: Sequence[Frame]) -> str:
    """What torch.distributed does in frames of its own, the innermost first; "" where it is not there."""
    inside = [each for each in frames if "torch/distributed/" in each.file]
    public = [each.function for each in inside if each.file.endswith("distributed_c10d.py")]
    named = [name for name in public if not name.startswith("_") and name != "wrapper"]
    if any("pipelining" in each.file for each in inside):
        return "a send or receive of the pipeline"
    return f"`{(named or [inside[0].function])[0]}`" if inside else ""


def telling(frames: Sequence[Frame]) -> list[Frame]:
    """Of the program's frames, innermost first: that outside of its runtime, and the innermost of all."""
    own = [frame for frame in frames if frame.own]
    outside = [frame for frame in own if not frame.file.startswith("runtime/")]
    return list(dict.fromkeys([*outside[:1], *own[:1]]))


def _place(rank: Path, folder: Path) -> list[Frame]:
    """Where a rank has ended by itself, else where it was when asked; its innermost frame first."""
    end = rank.with_suffix(".end")
    return (
        _frames(end.read_text(), folder)[::-1] if end.exists() else _stack(rank.with_suffix(".stack"), folder)
    )


def _stack(file: Path, folder: Path) -> list[Frame]:
    """The first stack that a rank has written, innermost frame first."""
    text = file.read_text() if file.exists() else ""
    stacks = re.split(r"^(?:Current thread|Thread) .*$", text, flags=re.MULTILINE)[1:]
    found = [_frames(stack, folder) for stack in stacks]
    return next((frames for frames in found if any(each.own for each in frames)), found[0] if found else [])


def _frames(text: str, folder: Path) -> list[Frame]:
    inside = f"{folder.resolve()}/"
    found = re.findall(r'File "([^"]+)", line (\d+)(?:,? in (\S+))?', text)
    return [
        Frame(str(Path(file).resolve()).removeprefix(inside), int(line), function, _within(file, inside))
        for file, line, function in found
    ]


def _within(file: str, folder: str) -> bool:
    return str(Path(file).resolve()).startswith(folder)
